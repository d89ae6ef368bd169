"""The choice of a device, in words where it is not there."""

import os
from collections.abc import Iterable

import torch

from gs_densify.distributed.environment import gpu_of_process
from gs_densify.errors import BackendError
from gs_densify.scene.scene import View

_FEW_PIXELS = 40_000

_ALLOCATOR = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")
"""Variables with torch's settings; those of the user stay."""


def pick_device(name: str) -> torch.device:
    """Takes a GPU for `auto` when there is one; `cuda` without one is an error.

    Of several processes each takes its own, which becomes the current one.
    """
    has_gpu = torch.cuda.is_available()
    if name == "cuda" and not has_gpu:
        raise BackendError(
            "cuda: torch sees no CUDA GPU here",
            action="check the driver (nvidia-smi) and that torch is a CUDA build (this is"
            f" {torch.__version__}), or use --device cpu",
            option="device",
        )
    if has_gpu and not any(name in os.environ for name in _ALLOCATOR):
        # Tensors grow by a little at every refinement, so that freed blocks do not fit again:
        # segments that can grow spare the waits for new ones, and memory. Read at first use.
        os.environ[_ALLOCATOR[0]] = "expandable_segments:True"
    # TF32 keeps 10 bits, too few for SSIM's differences of squares.
    torch.backends.cudnn.allow_tf32 = False
    if not has_gpu or name == "cpu":
        return torch.device("cpu")
    index = gpu_of_process()
    if index is not None and index >= torch.cuda.device_count():
        raise BackendError(
            f"There are {torch.cuda.device_count()} GPUs, and more processes on this machine",
            expected="expected one GPU for each process",
            action="start fewer processes",
        )
    if index is None:
        return torch.device("cuda")
    torch.cuda.set_device(index)  # starts CUDA, with the allocator's settings above
    return torch.device("cuda", index)


def suit_threads(device: torch.device, views: Iterable[View], before: int | None = None) -> None:
    """Uses as many threads on a CPU as were used `before`, else one for views that are small.

    Their number decides the last bits of sums. Several save a fifth of the time on a machine of
    their own, and wait for one another for many times that beside another job. OMP_NUM_THREADS,
    where it is set, counts for more.
    """
    if device.type != "cpu" or "OMP_NUM_THREADS" in os.environ:
        return
    is_small = max(view.width * view.height for view in views) <= _FEW_PIXELS
    if before is not None or is_small:
        torch.set_num_threads(before or 1)


def wait_for(device: torch.device) -> None:
    """Returns when the GPU has done all it was asked for; at once on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
