"""Rays through pixels, and where they meet Gaussians."""

import torch
from torch import Tensor

from gs_densify.model.geometry import quats_to_rotmats


def pixel_rays(viewmat: Tensor, K: Tensor, pixels: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Returns the camera's centre [3] and rays [P, 3] of depth 1 through `pixels` (row-major)."""
    rows = torch.div(pixels, width, rounding_mode="floor")
    image = torch.stack([pixels % width, rows, torch.ones_like(rows)], dim=-1) + 0.5
    image[:, 2] = 1.0
    directions = torch.linalg.solve(K, image.to(K).mT).mT @ viewmat[:3, :3]
    return -viewmat[:3, 3] @ viewmat[:3, :3], directions


def ray_peaks(
    origin: Tensor, directions: Tensor, means: Tensor, quats: Tensor, scales: Tensor
) -> Tensor:
    """Returns the t [P] at which Gaussian p is densest on the ray origin + t * direction.

    That is the middle of every chord which the ray has in common with one of its ellipsoids.
    """
    whitened = quats_to_rotmats(quats).mT / scales[:, :, None]  # S^-1 R^T
    along = (whitened @ directions[:, :, None]).squeeze(-1)
    start = (whitened @ (means - origin)[:, :, None]).squeeze(-1)
    return (along * start).sum(-1) / along.square().sum(-1).clamp_min(1e-30)
