"""The photometric loss of 3DGS: L1 and SSIM."""

from functools import lru_cache
from importlib.util import find_spec

import torch
from torch import Tensor

from gs_densify.errors import ConfigError

_TAPS, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2
_HAS_TRITON = find_spec("triton") is not None  # it comes with torch for CUDA on Linux


@lru_cache(maxsize=8)
def _window(device: torch.device, dtype: torch.dtype) -> Tensor:
    x = torch.arange(_TAPS, dtype=torch.float64) - _TAPS // 2
    weights = torch.exp(-(x**2) / (2 * _SIGMA**2))
    return (weights / weights.sum()).to(device=device, dtype=dtype)


@lru_cache(maxsize=32)
def _blur_matrix(size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """[size, size - 10]: what a row is multiplied by to be blurred where the window fits."""
    window = _window(device, dtype)
    matrix = torch.zeros(size, size - _TAPS + 1, device=device, dtype=dtype)
    columns = torch.arange(size - _TAPS + 1, device=device)
    for i in range(_TAPS):
        matrix[columns + i, columns] = window[i]
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


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """Mean SSIM [] of images [B,H,W,C] in [0,1] over the pixels where the window fits.

    On CUDA the gradient reaches `first` only (the render; the photo needs none).
    """
    if min(first.shape[1:3]) < _TAPS:
        height, width = first.shape[1:3]
        raise ConfigError(
            f"photos of {width}x{height} are smaller than SSIM's {_TAPS}x{_TAPS} window; use a"
            " smaller --downscale, or --loss.ssim 0"
        )
    if first.is_cuda and _HAS_TRITON:
        from gs_densify.training.ssim_triton import FusedSSIM

        return FusedSSIM.apply(first, second, _window(first.device, first.dtype), _C1, _C2)
    return ssim_map(first, second).mean()


def photometric_loss(
    render: Tensor, image: Tensor, ssim_weight: float, *, counted: float = 1.0
) -> tuple[Tensor, dict[str, Tensor]]:
    """(1 - w) L1 + w (1 - SSIM) (arXiv 2308.04079, Eq. 7) and its two terms, from [B,H,W,3].

    Where pixels do not count, `render` must be composited with `image` there, and `counted` is the
    share of those that do: the terms are sums of errors over all pixels by the number that counts.
    """
    l1 = (render - image).abs().mean() / counted
    if ssim_weight == 0:
        return l1, {"l1": l1.detach()}
    dissimilarity = (1 - ssim(render, image)) / counted
    loss = torch.lerp(l1, dissimilarity, ssim_weight)
    return loss, {"l1": l1.detach(), "ssim_loss": dissimilarity.detach()}
