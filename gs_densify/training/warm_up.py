"""What the first step needs besides photos, made ready while they are decoded."""

import importlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

from gs_densify.splats.kernels import HAS_TRITON

_SLOW = ("gsplat.cuda._backend", *(("triton",) if HAS_TRITON else ()))


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
    torch.zeros(1, device=device)  # makes the context
    for name in _SLOW:
        importlib.import_module(name)
