"""The choice of a device, in words where it is not there."""

import torch

from gs_densify.errors import BackendError


def pick_device(name: str) -> torch.device:
    """`auto` takes a GPU when there is one; `cuda` without one is an error."""
    has_gpu = torch.cuda.is_available()
    if name == "cuda" and not has_gpu:
        raise BackendError(
            "--device cuda: torch sees no CUDA GPU here; check the driver (nvidia-smi) and that"
            f" torch is a CUDA build (this is {torch.__version__}), or use --device cpu"
        )
    # TF32 keeps 10 bits, too few for SSIM's differences of squares.
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda" if has_gpu and name != "cpu" else "cpu")
