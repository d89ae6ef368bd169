"""What metrics share: the settings of cuDNN, and what they refuse.

Images are float tensors [H, W, 3] with values in [0, 1].
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from gs_densify.evaluation.metrics.metric import MetricUnavailable


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """Runs convolutions in full float32 with algorithms that give the same bits every time.

    By default CUDA rounds the inputs of a convolution to TF32 (10 bits of mantissa) and may pick
    another algorithm on every run.
    """
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    ):
        yield


def require_valid(valid_mask: Tensor) -> None:
    """Raises MetricUnavailable where valid_mask bool [H, W] excludes every pixel."""
    if not bool(valid_mask.any()):
        raise MetricUnavailable("the mask excludes every pixel")


def require_size(image: Tensor, smallest: int, what: str) -> None:
    """Raises MetricUnavailable where a side of `image` has fewer than `smallest` pixels."""
    height, width = image.shape[:2]
    if min(height, width) < smallest:
        raise MetricUnavailable(
            f"{what} needs at least {smallest} pixels on each side; an image is {width}x{height}"
        )


def check_pair(image: Tensor, target: Tensor) -> None:
    """Raises ValueError unless both are [H, W, 3] of one size."""
    if image.shape != target.shape or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f"images are {list(image.shape)} and {list(target.shape)}; expected [H, W, 3] twice"
        )
