"""Says whether Triton kernels of this package can be compiled; starts Triton, launches kernels."""

from __future__ import annotations

from collections.abc import Hashable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

HAS_TRITON = find_spec("triton") is not None
"""It comes with torch for CUDA on Linux; without it CUDA takes the torch paths."""


def start() -> None:
    """Imports Triton, and has it do what it does once in a process, at the first launch.

    The key of its cache is a digest of its whole library, some hundred megabytes. Needs a GPU.
    """
    from triton.compiler.compiler import make_backend
    from triton.runtime import driver
    from triton.runtime.cache import triton_key

    triton_key()
    make_backend(driver.active.get_current_target()).hash()  # asks for the assembler's version


class Launcher:
    """Launches a Triton kernel by the handle that its first launch of a kind gave.

    Triton itself looks at every argument of every launch to find for what it was compiled, which
    takes the host longer than many a kernel takes the GPU.
    """

    def __init__(self, kernel: Any, **options: Any) -> None:
        """Takes what `triton.jit` gave, and options of its launches such as `num_warps`."""
        self._kernel, self._options = kernel, options
        self._handles: dict[Hashable, Any] = {}

    def __call__(self, kind: Hashable, grid: tuple[int, int, int], *arguments: Any) -> None:
        """Launches on the current device and stream.

        Launches of one `kind` must agree in all that a kernel is compiled for: device, types and
        alignment (`alignment_of`) of tensors, the numbers that it specialises, which arguments are
        None, and those of `tl.constexpr`, which are passed in their places like all others.
        """
        handle = self._handles.get(kind)
        if handle is not None:
            handle[grid](*arguments)
            return
        # None where kernels are interpreted.
        self._handles[kind] = self._kernel[grid](*arguments, **self._options)


def alignment_of(*tensors: Tensor) -> tuple[bool, ...]:
    """Returns which tensors begin at a multiple of 16 bytes, as Triton wants to know."""
    return tuple([one.data_ptr() % 16 == 0 for one in tensors])
