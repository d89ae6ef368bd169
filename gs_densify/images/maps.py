"""Per-pixel errors of renders [B, H, W, 3] of photos, which strategies attribute to Gaussians."""

import torch
from torch import Tensor

from gs_densify.images.blur import window
from gs_densify.images.edges import LUMA, edge_map
from gs_densify.images.ssim import CONSTANTS, ssim_map
from gs_densify.kernels import HAS_TRITON

SSIM_WEIGHT = 0.2
"""That of the loss of 3DGS (arXiv 2308.04079, Eq. 7)."""


def dissimilarity_map(first: Tensor, second: Tensor) -> Tensor:
    """Returns 1 - SSIM [B, H, W], the mean over the channels of two [B, H, W, C], in [0, 2].

    At the border images go on with their last row or column.
    """
    return (1 - ssim_map(first, second, "replicate")).mean(dim=1)


def error_map(render: Tensor, image: Tensor, ssim_weight: float = SSIM_WEIGHT) -> Tensor:
    """Returns the photometric loss of 3DGS pixel by pixel [B, H, W]: (1 - w) L1 + w (1 - SSIM)."""
    l1 = (render - image).abs().mean(dim=-1)
    if ssim_weight == 0:
        return l1
    return torch.lerp(l1, dissimilarity_map(render, image), ssim_weight)


def error_and_edges(render: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
    """Returns `error_map`, and `edge_map` of the photo: on CUDA in two launches."""
    if not (HAS_TRITON and render.is_cuda and render.dtype == image.dtype == torch.float32):
        return error_map(render, image), edge_map(image)
    return _fused_maps(render, image)


def _fused_maps(
    render: Tensor, image: Tensor, ssim_weight: float = SSIM_WEIGHT
) -> tuple[Tensor, Tensor]:
    from gs_densify.images import maps_triton

    return maps_triton.error_and_edges(
        render,
        image,
        ssim_weight=ssim_weight,
        window=window(),
        constants=CONSTANTS,
        luma=LUMA,
    )
