"""SSIM (Wang et al. 2004) with the three treatments of the borders that published tables use.

Written out here because no library has all three, and torchmetrics changed its own in version 1.5:
up to 1.4 it averages where the window fits, since then over all pixels with mirrored borders.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from gs_densify.evaluation.metrics.checks import check_pair, require_size
from gs_densify.evaluation.metrics.metric import Compute, MetricUnavailable, Setting
from gs_densify.results import SsimBorders

WINDOW, SIGMA = 11, 1.5
_MARGIN = WINDOW // 2
_C1, _C2 = 0.01**2, 0.03**2

_WORDS: dict[SsimBorders, str] = {
    "reflect": "borders reflected, mean over all pixels",
    "valid": "mean over the pixels where the window fits",
    "zero": "zeros beyond the borders, mean over all pixels",
}


def make(setting: Setting) -> Compute:
    """Returns `ssim` with the borders that the protocol sets."""
    borders = setting.ssim_borders
    return lambda image, target, valid_mask: ssim(
        image, target, borders=borders, valid_mask=valid_mask
    )


def ssim(
    image: Tensor,
    target: Tensor,
    *,
    borders: SsimBorders = "reflect",
    valid_mask: Tensor | None = None,
) -> float:
    """Return the mean structural similarity (eq. 13 of the paper), in float64.

    Args:
        image: [H, W, 3] in [0, 1].
        target: [H, W, 3] in [0, 1].
        borders: `reflect` mirrors both pictures without repeating the border pixel, `zero` puts
            zeros around them; `valid` averages over the pixels whose window lies inside.
        valid_mask: bool [H, W], True at the pixels to average over; all where None.

    Raises:
        MetricUnavailable: where the picture is smaller than the window, or no pixel counts.
    """
    check_pair(image, target)
    require_size(image, WINDOW, "SSIM")
    valid_mask = _cropped(valid_mask, borders)
    if valid_mask is not None and not bool(valid_mask.any()):
        raise MetricUnavailable("no pixel that SSIM averages over counts: the mask excludes them")
    # One channel at a time: a fifth of a large photo's memory would be spent on nothing else.
    means = []
    for channel in range(3):
        values = _ssim_map(image[..., channel].double(), target[..., channel].double(), borders)
        means.append(float((values if valid_mask is None else values[valid_mask]).mean()))
    return math.fsum(means) / len(means)


def ssim_implementation(borders: SsimBorders) -> str:
    """Say in words which SSIM this is, for the protocol of a result file."""
    return f"gs_densify, {WINDOW}x{WINDOW} gaussian sigma {SIGMA}, float64, {_WORDS[borders]}"


def _ssim_map(a: Tensor, b: Tensor, borders: SsimBorders) -> Tensor:
    """[H, W], or [H - 10, W - 10] where borders are left out, of one channel [H, W]."""
    mean_a, mean_b, square_a, square_b, product = _blur(
        torch.stack([a, b, a * a, b * b, a * b]), borders
    )
    variances = square_a - mean_a**2 + square_b - mean_b**2
    covariance = product - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    return luminance * (2 * covariance + _C2) / (variances + _C2)


def _blur(images: Tensor, borders: SsimBorders) -> Tensor:
    """Blur [B, H, W] along one axis and then the other: the same digits on every run and device."""
    if borders != "valid":
        mode = "reflect" if borders == "reflect" else "constant"
        images = pad(images, [_MARGIN] * 4, mode=mode)
    return _blur_axis(_blur_axis(images, 1), 2)


def _blur_axis(images: Tensor, axis: int) -> Tensor:
    size = images.shape[axis] - 2 * _MARGIN
    weights = [math.exp(-(((i - _MARGIN) / SIGMA) ** 2) / 2) for i in range(WINDOW)]
    total = math.fsum(weights)
    blurred = images.narrow(axis, 0, size) * (weights[0] / total)
    for i, weight in enumerate(weights[1:], start=1):
        blurred.add_(images.narrow(axis, i, size), alpha=weight / total)
    return blurred


def _cropped(valid_mask: Tensor | None, borders: SsimBorders) -> Tensor | None:
    if valid_mask is None or borders != "valid":
        return valid_mask
    return valid_mask[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
