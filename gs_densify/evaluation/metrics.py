"""PSNR and SSIM of one image against another, through torchmetrics.

Images are float tensors [H, W, 3] with values in [0, 1]. torchmetrics is imported on first use.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from gs_densify.errors import BackendError

MAX_PSNR = 100.0
SSIM_WINDOW = 11


class MetricUnavailable(Exception):
    """A metric that cannot be computed here; the text is the reason, for the result file."""


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """Run convolutions in full float32 with algorithms that give the same bits every time.

    By default CUDA rounds the inputs of a convolution to TF32 (10 bits of mantissa) and may pick
    another algorithm on every run.
    """
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    ):
        yield


def quantize(image: Tensor) -> Tensor:
    """Clamp to [0, 1] and round to the nearest of 256 levels, as a saved PNG would be read back."""
    return image.clamp(0, 1).mul(255).round().div(255)


def psnr(image: Tensor, target: Tensor) -> float:
    """Return 10 log10(1 / MSE) in decibel, the MSE over all pixels and channels in float64.

    Capped at `MAX_PSNR` (an MSE of 1e-10), which is also the value for equal images: the infinity
    that the formula gives has no place in JSON, and would make every mean infinite.
    """
    _check_pair(image, target)
    value = _torchmetrics().peak_signal_noise_ratio(image.double(), target.double(), data_range=1.0)
    return min(float(value), MAX_PSNR)


def ssim(image: Tensor, target: Tensor) -> float:
    """Return the mean structural similarity (Wang et al. 2004, eq. 13), as torchmetrics has it.

    See `ssim_implementation` for what it does at the borders.

    Raises:
        MetricUnavailable: where the image is smaller than the window.
    """
    _check_pair(image, target)
    require_size(image, SSIM_WINDOW, "SSIM")
    with exact_convolutions():
        value = _torchmetrics().structural_similarity_index_measure(
            _batch(image), _batch(target), data_range=1.0
        )
    return float(value)


def ssim_implementation() -> str:
    """Say in words which SSIM this is, for the protocol of a result file.

    Raises:
        BackendError: when torchmetrics cannot be imported.
    """
    _torchmetrics()
    return (
        f"torchmetrics {version('torchmetrics')}, 11x11 gaussian sigma 1.5, "
        "borders reflected, mean over all pixels"
    )


def require_size(image: Tensor, smallest: int, what: str) -> None:
    """Raise MetricUnavailable where a side of `image` has fewer than `smallest` pixels."""
    height, width = image.shape[:2]
    if min(height, width) < smallest:
        raise MetricUnavailable(
            f"{what} needs at least {smallest} pixels on each side; an image is {width}x{height}"
        )


def _batch(image: Tensor) -> Tensor:
    """[H, W, 3] to [1, 3, H, W]."""
    return image.float().permute(2, 0, 1).unsqueeze(0).contiguous()


def _check_pair(image: Tensor, target: Tensor) -> None:
    if image.shape != target.shape or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f"images are {list(image.shape)} and {list(target.shape)}; expected [H, W, 3] twice"
        )


def _torchmetrics() -> Any:
    try:
        import torchmetrics.functional.image as functional
    except (ImportError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise BackendError(
            f"torchmetrics cannot be imported ({reason}); a torchvision that does not fit this "
            "torch is the usual cause: uninstall torchvision, which is not needed here."
        ) from error
    return functional
