"""What the first step and the first evaluation need besides photos, made ready beside others."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Thread

import torch

from gs_densify import kernels
from gs_densify.evaluation import lpips
from gs_densify.rendering.base import Rasterizer


@contextmanager
def warming_up(
    device: torch.device, rasterizer: Rasterizer, lpips_names: Sequence[str]
) -> Iterator[None]:
    """Starts CUDA, the rasteriser and Triton in threads beside the body; then loads cuDNN.

    What renders is waited for where the body ends well: an error, or Ctrl-C, need not wait for a
    compiler. cuDNN, which the LPIPS variants `lpips_names` need, is loaded on beside training.
    What fails in a thread fails again, and is said, where it is needed.
    """
    if device.type != "cuda":
        yield
        return
    threads = [
        Thread(target=_start_rasterizer, args=[device, rasterizer, lpips_names], daemon=True),
        Thread(target=_start_triton, daemon=True),
    ]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join()


def _start_rasterizer(
    device: torch.device, rasterizer: Rasterizer, lpips_names: Sequence[str]
) -> None:
    with suppress(Exception):
        rasterizer.start(device)
    # No daemon: a process must not end amid the loading of a library.
    Thread(target=_load_cudnn, args=[device, lpips_names], daemon=False).start()


def _start_triton() -> None:
    with suppress(Exception):
        if kernels.HAS_TRITON:
            kernels.start()


def _load_cudnn(device: torch.device, lpips_names: Sequence[str]) -> None:
    with suppress(Exception):
        for backbone in {lpips.VARIANTS[name].backbone for name in lpips_names}:
            lpips.load_kernels(backbone, device)
