"""What the first step needs besides photos, made ready while they are decoded."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

from gs_densify.rendering import gsplat_cuda
from gs_densify.splats.kernels import HAS_TRITON


@contextmanager
def warming_up(device: torch.device) -> Iterator[None]:
    """Start CUDA and import what renders on it, in a thread beside the body."""
    if device.type != "cuda":
        yield
        return
    with ThreadPoolExecutor(1) as pool:
        ready = pool.submit(_warm_up, device)
        yield
        ready.result()


def _warm_up(device: torch.device) -> None:
    gsplat_cuda.start(device)
    if HAS_TRITON:
        import triton  # noqa: F401
