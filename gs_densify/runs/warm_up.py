"""What the first step and the first evaluation need besides photos, made ready beside others."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Event, Thread

import torch

from gs_densify.evaluation import lpips
from gs_densify.kernels import HAS_TRITON
from gs_densify.rendering.base import Rasterizer


@contextmanager
def warming_up(
    device: torch.device, rasterizer: Rasterizer, lpips_names: Sequence[str]
) -> Iterator[None]:
    """Starts CUDA and imports what renders on it, in a thread beside the body; then loads cuDNN.

    What renders is waited for where the body ends well: an error, or Ctrl-C, need not wait for a
    compiler. cuDNN, which the LPIPS variants `lpips_names` need, is loaded on beside training.
    What fails in a thread fails again, and is said, where it is needed.
    """
    if device.type != "cuda":
        yield
        return
    is_ready = Event()
    Thread(target=_warm_up, args=[device, rasterizer, lpips_names, is_ready], daemon=True).start()
    yield
    is_ready.wait()


def _warm_up(
    device: torch.device, rasterizer: Rasterizer, lpips_names: Sequence[str], is_ready: Event
) -> None:
    try:
        with suppress(Exception):
            rasterizer.start(device)
            if HAS_TRITON:
                import triton  # noqa: F401
    finally:
        is_ready.set()
    # No daemon: a process must not end amid the loading of a library.
    Thread(target=_load_cudnn, args=[device, lpips_names], daemon=False).start()


def _load_cudnn(device: torch.device, lpips_names: Sequence[str]) -> None:
    with suppress(Exception):
        for backbone in {lpips.VARIANTS[name].backbone for name in lpips_names}:
            lpips.load_kernels(backbone, device)
