"""The photometric loss of 3DGS: L1 and SSIM."""

from functools import lru_cache

import torch
from torch import Tensor

_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2


@lru_cache(maxsize=8)
def _gaussian(device: torch.device, dtype: torch.dtype) -> Tensor:
    x = torch.arange(_WINDOW, dtype=torch.float64) - _WINDOW // 2
    weights = torch.exp(-(x**2) / (2 * _SIGMA**2))
    return (weights / weights.sum()).to(device=device, dtype=dtype)


def ssim_map(first: Tensor, second: Tensor) -> Tensor:
    """SSIM of images [B,H,W,C] in [0,1] where the 11x11 window (sigma 1.5) fits: [B,C,H-10,W-10].

    Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", 2004.
    """
    a, b = first.permute(0, 3, 1, 2), second.permute(0, 3, 1, 2)
    maps = torch.cat([a, b, a * a, b * b, a * b])
    batch, channels, height, width = maps.shape
    window = _gaussian(maps.device, maps.dtype)
    flat = maps.reshape(batch * channels, 1, height, width)
    flat = torch.nn.functional.conv2d(flat, window.view(1, 1, 1, -1))
    flat = torch.nn.functional.conv2d(flat, window.view(1, 1, -1, 1))
    blurred = flat.reshape(5, a.shape[0], channels, *flat.shape[-2:])
    mean_a, mean_b = blurred[0], blurred[1]
    var_a, var_b = blurred[2] - mean_a**2, blurred[3] - mean_b**2
    covariance = blurred[4] - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    return luminance * (2 * covariance + _C2) / (var_a + var_b + _C2)


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """Mean SSIM [] of images [B,H,W,C] in [0,1] over the pixels where the window fits."""
    return ssim_map(first, second).mean()


def photometric_loss(
    render: Tensor, image: Tensor, ssim_weight: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """(1 - w) L1 + w (1 - SSIM) (arXiv 2308.04079, Eq. 7) and its two terms, from [B,H,W,3]."""
    l1 = (render - image).abs().mean()
    if ssim_weight == 0:
        return l1, {"l1": l1.detach()}
    dissimilarity = 1 - ssim(render, image)
    loss = torch.lerp(l1, dissimilarity, ssim_weight)
    return loss, {"l1": l1.detach(), "ssim_loss": dissimilarity.detach()}
