"""SSIM (Wang et al. 2004) with the three treatments of the borders that published tables use.

No library has all three, and torchmetrics changed its own in version 1.5: up to 1.4 it averages
where the window fits, since then over all pixels with mirrored borders. The map is `images.ssim`'s,
in float64 and tap by tap.
"""

import math

from torch import Tensor

from gs_densify.evaluation.metrics import MetricUnavailable, check_pair, require_size
from gs_densify.images.blur import MARGIN, SIGMA, TAPS, exact_blur
from gs_densify.images.ssim import ssim_map
from gs_densify.results import SsimBorders

_WORDS: dict[SsimBorders, str] = {
    "reflect": "borders reflected, mean over all pixels",
    "valid": "mean over the pixels where the window fits",
    "zero": "zeros beyond the borders, mean over all pixels",
}


def ssim(
    image: Tensor, target: Tensor, *, borders: SsimBorders = "reflect", mask: Tensor | None = None
) -> float:
    """Returns the mean structural similarity (eq. 13 of the paper), in float64.

    Args:
        image: [H, W, 3] in [0, 1].
        target: [H, W, 3] in [0, 1].
        borders: `reflect` mirrors both pictures without repeating the border pixel, `zero` puts
            zeros around them; `valid` averages over the pixels whose window lies inside.
        mask: bool [H, W], the pixels to average over; all where None.

    Raises:
        MetricUnavailable: where the picture is smaller than the window, or no pixel counts.
    """
    check_pair(image, target)
    require_size(image, TAPS, "SSIM")
    counted = _cropped(mask, borders)
    if counted is not None and not bool(counted.any()):
        raise MetricUnavailable("no pixel that SSIM averages over counts: the mask excludes them")
    # One channel at a time: a fifth of a large photo's memory would be spent on nothing else.
    means = []
    for channel in range(3):
        first, second = (x[None, ..., channel, None].double() for x in (image, target))
        values = ssim_map(first, second, borders, exact_blur)[0, 0]
        means.append(float((values if counted is None else values[counted]).mean()))
    return math.fsum(means) / len(means)


def ssim_implementation(borders: SsimBorders) -> str:
    """Says in words which SSIM this is, for the protocol of a result file."""
    return f"gs_densify, {TAPS}x{TAPS} gaussian sigma {SIGMA}, float64, {_WORDS[borders]}"


def _cropped(mask: Tensor | None, borders: SsimBorders) -> Tensor | None:
    if mask is None or borders != "valid":
        return mask
    return mask[MARGIN:-MARGIN, MARGIN:-MARGIN]
