"""SSIM (Wang et al. 2004) with the three treatments of the borders that published tables use.

No library has all three, and torchmetrics changed its own in version 1.5: up to 1.4 it averages
where the window fits, since then over all pixels with mirrored borders. The map is `images.ssim`'s,
in float64 and tap by tap.
"""

import math

from torch import Tensor

from gs_densify.evaluation.metrics.checks import check_pair, require_size
from gs_densify.evaluation.metrics.metric import Compute, MetricUnavailable, Setting
from gs_densify.images.blur import MARGIN, SIGMA, TAPS, exact_blur
from gs_densify.images.ssim import ssim_map
from gs_densify.results import SsimBorders

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
    """Returns the mean structural similarity (eq. 13 of the paper), in float64.

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
    require_size(image, TAPS, "SSIM")
    valid_mask = _cropped(valid_mask, borders)
    if valid_mask is not None and not bool(valid_mask.any()):
        raise MetricUnavailable("no pixel that SSIM averages over counts: the mask excludes them")
    # One channel at a time: a fifth of a large photo's memory would be spent on nothing else.
    means = []
    for channel in range(3):
        first, second = (x[None, ..., channel, None].double() for x in (image, target))
        values = ssim_map(first, second, borders, exact_blur)[0, 0]
        means.append(float((values if valid_mask is None else values[valid_mask]).mean()))
    return math.fsum(means) / len(means)


def ssim_implementation(borders: SsimBorders) -> str:
    """Says in words which SSIM this is, for the protocol of a result file."""
    return f"gs_densify, {TAPS}x{TAPS} gaussian sigma {SIGMA}, float64, {_WORDS[borders]}"


def _cropped(valid_mask: Tensor | None, borders: SsimBorders) -> Tensor | None:
    if valid_mask is None or borders != "valid":
        return valid_mask
    return valid_mask[MARGIN:-MARGIN, MARGIN:-MARGIN]
