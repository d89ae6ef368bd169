"""Says whether this package's own Triton kernels can be compiled, and starts Triton."""

from importlib.util import find_spec

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
