"""The structural similarity of images (Wang et al. 2004, eq. 13), for loss, scores and metric."""

from collections.abc import Callable

import torch
from torch import Tensor

from gs_densify.images.blur import Borders, blur

CONSTANTS = _C1, _C2 = 0.01**2, 0.03**2
"""(K1 L)^2 and (K2 L)^2 for values in [0, 1]."""


def ssim_map(
    first: Tensor,
    second: Tensor,
    borders: Borders,
    blurred: Callable[[Tensor, Borders], Tensor] = blur,
) -> Tensor:
    """Returns the SSIM of each value, under an 11x11 Gaussian window of sigma 1.5.

    Args:
        first: images [B, H, W, C] in [0, 1].
        second: images [B, H, W, C] in [0, 1].
        borders: what the window sees beyond an image.
        blurred: `blur.blur`, or `blur.exact_blur` where digits are to be the same everywhere.

    Returns:
        [B, C, H, W]; [B, C, H - 10, W - 10], where the window fits, for the borders `valid`.
    """
    a, b = first.permute(0, 3, 1, 2), second.permute(0, 3, 1, 2)
    moments = blurred(torch.stack([a, b, a * a, b * b, a * b]), borders)
    mean_a, mean_b, square_a, square_b, product = moments
    variances = square_a - mean_a**2 + square_b - mean_b**2
    covariance = product - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    return luminance * (2 * covariance + _C2) / (variances + _C2)
