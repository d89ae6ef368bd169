"""The photometric loss of 3DGS: L1 and SSIM."""

import torch
from torch import Tensor

from gs_densify.errors import ConfigError
from gs_densify.images.blur import TAPS, window
from gs_densify.images.ssim import CONSTANTS, ssim_map
from gs_densify.kernels import HAS_TRITON


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
    if len(render) == 0:  # of a process that others leave no view
        nothing = render.sum()
        return nothing, {"l1": nothing.detach(), "ssim_loss": nothing.detach()}
    if weights is None:
        weights = render.new_full((len(render),), 1 / len(render))
    if ssim_weight == 0:
        l1 = _weighted_mean((render - image).abs(), weights)
        return l1, {"l1": l1.detach()}
    height, width = render.shape[1:3]
    if min(height, width) < TAPS:
        raise ConfigError(
            f"photos of {width}x{height} are smaller than SSIM's {TAPS}x{TAPS} window",
            action="use a smaller --downscale, or --loss.ssim 0",
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
    dissimilarity = _weighted_mean(1 - ssim_map(render, image, "valid"), weights)
    return torch.lerp(l1, dissimilarity, ssim_weight), l1, dissimilarity


def _fused_loss(
    render: Tensor, image: Tensor, weights: Tensor, ssim_weight: float
) -> tuple[Tensor, Tensor, Tensor]:
    from gs_densify.images.photometric_triton import PhotometricLoss

    return PhotometricLoss.apply(render, image, weights, ssim_weight, window(), *CONSTANTS)
