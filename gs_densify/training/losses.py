"""The photometric loss of 3DGS: L1 and SSIM."""

from functools import lru_cache

import torch
from torch import Tensor

from gs_densify.errors import ConfigError
from gs_densify.model.kernels import HAS_TRITON
from gs_densify.strategies.scores import SSIM_CONSTANTS, ssim_window

_TAPS = len(ssim_window())
_C1, _C2 = SSIM_CONSTANTS


@lru_cache(maxsize=32)
def _blur_matrix(size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """[size, size - 10]: what a row is multiplied by to be blurred where the window fits."""
    matrix = torch.zeros(size, size - _TAPS + 1, device=device, dtype=dtype)
    columns = torch.arange(size - _TAPS + 1, device=device)
    for i, weight in enumerate(ssim_window()):
        matrix[columns + i, columns] = weight
    return matrix


def _blur(images: Tensor) -> Tensor:
    """Blur [..., H, W] as two matrix products, many times faster than cuDNN's convolution."""
    height, width = images.shape[-2:]
    along_rows = images @ _blur_matrix(width, images.device, images.dtype)
    return _blur_matrix(height, images.device, images.dtype).T @ along_rows


def ssim_map(first: Tensor, second: Tensor) -> Tensor:
    """SSIM of images [B,H,W,C] in [0,1] where the 11x11 window (sigma 1.5) fits: [B,C,H-10,W-10].

    Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", 2004.
    """
    a, b = first.permute(0, 3, 1, 2), second.permute(0, 3, 1, 2)
    mean_a, mean_b, square_a, square_b, product = _blur(torch.stack([a, b, a * a, b * b, a * b]))
    variances = square_a - mean_a**2 + square_b - mean_b**2
    covariance = product - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    return luminance * (2 * covariance + _C2) / (variances + _C2)


def photometric_loss(
    render: Tensor, image: Tensor, ssim_weight: float, *, weights: Tensor | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Returns sum_v weights_v ((1 - w) L1_v + w (1 - SSIM_v)) and its two terms.

    L1_v and SSIM_v are means over the pixels of view v, SSIM_v over those where its window fits
    (arXiv 2308.04079, Eq. 7). The terms have no gradient, and on CUDA the loss has one by `render`
    only (the photo needs none).

    Args:
        render: [B,H,W,3] in [0,1], composited with `image` where a mask excludes pixels.
        image: the photos [B,H,W,3].
        ssim_weight: w.
        weights: [B] what each view counts for; a view of which only a share of the pixels is
            valid counts for one over that share. 1 / B each where None.

    Raises:
        ConfigError: the images are smaller than SSIM's window, and `ssim_weight` is not 0.
    """
    if weights is None:
        weights = render.new_full((len(render),), 1 / len(render))
    if ssim_weight == 0:
        l1 = _weighted_mean((render - image).abs(), weights)
        return l1, {"l1": l1.detach()}
    height, width = render.shape[1:3]
    if min(height, width) < _TAPS:
        raise ConfigError(
            f"photos of {width}x{height} are smaller than SSIM's {_TAPS}x{_TAPS} window; use a"
            " smaller --downscale, or --loss.ssim 0"
        )
    fused = render.is_cuda and HAS_TRITON
    loss_of = _fused_loss if fused else _plain_loss
    loss, l1, dissimilarity = loss_of(render, image, weights, ssim_weight)
    return loss, {"l1": l1.detach(), "ssim_loss": dissimilarity.detach()}


def _weighted_mean(maps: Tensor, weights: Tensor) -> Tensor:
    """Returns sum_b weights_b mean(maps_b) of maps [B,...] and weights [B]."""
    return (weights * maps.flatten(1).mean(dim=1)).sum()


def _plain_loss(
    render: Tensor, image: Tensor, weights: Tensor, ssim_weight: float
) -> tuple[Tensor, Tensor, Tensor]:
    l1 = _weighted_mean((render - image).abs(), weights)
    dissimilarity = _weighted_mean(1 - ssim_map(render, image), weights)
    return torch.lerp(l1, dissimilarity, ssim_weight), l1, dissimilarity


def _fused_loss(
    render: Tensor, image: Tensor, weights: Tensor, ssim_weight: float
) -> tuple[Tensor, Tensor, Tensor]:
    from gs_densify.images.photometric_triton import PhotometricLoss

    return PhotometricLoss.apply(render, image, weights, ssim_weight, ssim_window(), _C1, _C2)
