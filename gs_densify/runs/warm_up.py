"""What the first step needs besides photos, made ready while they are decoded."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

import torch

from gs_densify.model.kernels import HAS_TRITON
from gs_densify.rendering.gsplat import rasterizer as gsplat_cuda


@contextmanager
def warming_up(device: torch.device) -> Iterator[None]:
    """Start CUDA and import what renders on it, in a thread beside the body.

    It is waited for where the body ends well: an error, or Ctrl-C, need not wait for a compiler.
    What fails in the thread fails again, and is said, where it is needed.
    """
    if device.type != "cuda":
        yield
        return
    thread = Thread(target=_warm_up, args=[device], daemon=True)
    thread.start()
    yield
    thread.join()


def _warm_up(device: torch.device) -> None:
    with suppress(Exception):
        gsplat_cuda.start(device)
        if HAS_TRITON:
            import triton  # noqa: F401
