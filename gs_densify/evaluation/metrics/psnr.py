"""PSNR of one image against another."""

import torch
from torch import Tensor

from gs_densify.evaluation.metrics.checks import check_pair, require_valid
from gs_densify.evaluation.metrics.metric import Compute, Setting

MAX_PSNR = 100.0

_DECIBEL = float(10 / torch.log(torch.tensor(10.0)))
"""10 / ln 10 rounded to float32, as in torchmetrics, which computed the scores of earlier versions:
with 16 digits all of them would change by one in 10^8."""


def make(setting: Setting) -> Compute:
    """Returns `psnr`: of the quantised render or the float one, as the metric's `sees` says."""
    del setting
    return psnr


def psnr(image: Tensor, target: Tensor, valid_mask: Tensor | None = None) -> float:
    """Returns 10 log10(1 / MSE) in decibel, the MSE over pixels and channels in float64.

    Capped at `MAX_PSNR` (an MSE of 1e-10), which is also the value for equal images: the infinity
    that the formula gives has no place in JSON, and would make every mean infinite.

    Args:
        image: [H, W, 3] in [0, 1].
        target: [H, W, 3] in [0, 1].
        valid_mask: bool [H, W], True at the pixels to average over; all where None.

    Raises:
        MetricUnavailable: where the mask excludes every pixel.
    """
    check_pair(image, target)
    if valid_mask is not None:
        require_valid(valid_mask)
        image, target = image[valid_mask], target[valid_mask]
    total = (image.double() - target.double()).square().sum()
    # By a tensor: on CUDA, dividing by a number multiplies by its inverse, which rounds otherwise.
    mean = total / torch.full_like(total, image.numel())
    return min(float(-mean.log() * _DECIBEL), MAX_PSNR)
