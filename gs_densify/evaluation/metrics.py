"""PSNR of one image against another, and what all metrics share.

Images are float tensors [H, W, 3] with values in [0, 1].
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from gs_densify.results import Quantisation

MAX_PSNR = 100.0

_DECIBEL = float(10 / torch.log(torch.tensor(10.0)))
"""10 / ln 10 rounded to float32, as in torchmetrics, which computed the scores of earlier versions:
with 16 digits all of them would change by one in 10^8."""


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


def quantize(image: Tensor, how: Quantisation = "uint8-round") -> Tensor:
    """Clamp to [0, 1] and give what a saved 8-bit picture would be read back as.

    `uint8-round` takes the nearest of 256 levels, `uint8-truncate` the level below (numpy's
    `astype`), and `float` leaves the values as they are.
    """
    image = image.clamp(0, 1)
    if how == "float":
        return image
    levels = image.mul(255)
    return (levels.round() if how == "uint8-round" else levels.floor()).div(255)


def psnr(image: Tensor, target: Tensor, mask: Tensor | None = None) -> float:
    """Return 10 log10(1 / MSE) in decibel, the MSE over pixels and channels in float64.

    Capped at `MAX_PSNR` (an MSE of 1e-10), which is also the value for equal images: the infinity
    that the formula gives has no place in JSON, and would make every mean infinite.

    Args:
        image: [H, W, 3] in [0, 1].
        target: [H, W, 3] in [0, 1].
        mask: bool [H, W], the pixels that count; all where None.

    Raises:
        MetricUnavailable: where no pixel counts.
    """
    check_pair(image, target)
    if mask is not None:
        require_counted(mask)
        image, target = image[mask], target[mask]
    total = (image.double() - target.double()).square().sum()
    # By a tensor: on CUDA, dividing by a number multiplies by its inverse, which rounds otherwise.
    mean = total / torch.full_like(total, image.numel())
    return min(float(-mean.log() * _DECIBEL), MAX_PSNR)


def require_counted(mask: Tensor) -> None:
    """Raise MetricUnavailable where a mask bool [H, W] excludes every pixel."""
    if not bool(mask.any()):
        raise MetricUnavailable("the mask excludes every pixel")


def require_size(image: Tensor, smallest: int, what: str) -> None:
    """Raise MetricUnavailable where a side of `image` has fewer than `smallest` pixels."""
    height, width = image.shape[:2]
    if min(height, width) < smallest:
        raise MetricUnavailable(
            f"{what} needs at least {smallest} pixels on each side; an image is {width}x{height}"
        )


def check_pair(image: Tensor, target: Tensor) -> None:
    """Raise ValueError unless both are [H, W, 3] of one size."""
    if image.shape != target.shape or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f"images are {list(image.shape)} and {list(target.shape)}; expected [H, W, 3] twice"
        )
