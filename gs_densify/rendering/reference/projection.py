"""From Gaussians in space to ellipses in the image: EWA splatting (Zwicker et al. 2001).

Culling and extents are those of gsplat 1.5.3's `ProjectionEWA3DGSFused.cu`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gs_densify.model.geometry import quats_to_rotmats
from gs_densify.rendering.base import RenderSettings

EPS2D = 0.3  # px^2 added to every projected covariance, so that no Gaussian falls between pixels
ALPHA_MIN = 1 / 255  # contributions below this are dropped
_MAX_EXTENT = 3.33  # standard deviations; alpha < ALPHA_MIN beyond it for every opacity <= 1
_FOV_MARGIN = 0.3  # of the half field of view, beyond which the Jacobian is held constant
_MAX_RADIUS = 2**30  # keeps the cast to int32 defined


@dataclass(frozen=True)
class Projection:
    """N Gaussians seen by C cameras; only entries with `radii > 0` are meaningful.

    Attributes:
        means2d: [C, N, 2] centres in pixels.
        depths: [C, N] along the optical axis.
        conics: [C, N, 3] the upper triangle (xx, xy, yy) of the inverse covariance.
        compensations: [C, N] sqrt of the ratio of determinants before and after the dilation.
        radii: [C, N, 2] int32 half width and height in pixels, (0, 0) where culled.
    """

    means2d: Tensor
    depths: Tensor
    conics: Tensor
    compensations: Tensor
    radii: Tensor


def project(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    settings: RenderSettings,
) -> Projection:
    """Projects N Gaussians into C pinhole cameras and culls those that cannot be seen.

    Shapes and settings are those of `rendering.base.Rasterizer`. Differentiable in means, quats,
    scales, viewmats and Ks; the radii and the culling are not.
    """
    camera = viewmats[:, :3, :3]
    means_c = means @ camera.mT + viewmats[:, None, :3, 3]
    in_depth = (means_c[..., 2] >= settings.near_plane) & (means_c[..., 2] <= settings.far_plane)
    # A culled depth may be 0 or negative; 1 keeps its gradient finite, and nobody uses it.
    depths = torch.where(in_depth, means_c[..., 2], 1.0)
    slopes = means_c[..., :2] / depths[..., None]
    focal = torch.stack([Ks[:, 0, 0], Ks[:, 1, 1]], dim=-1)[:, None]
    centre = Ks[:, None, :2, 2]

    axes = camera[:, None] @ (quats_to_rotmats(quats) * scales[:, None, :])
    limited = _limit_slopes(slopes, focal, centre, width, height)
    first, second = _projected_axes(axes, limited, focal / depths[..., None])
    xx, xy, yy = (first * first).sum(-1), (first * second).sum(-1), (second * second).sum(-1)
    # As sums of non-negative terms the determinants cannot cancel, unlike xx * yy - xy^2.
    det = torch.linalg.cross(first, second).square().sum(-1)
    det_dilated = det + EPS2D * (xx + yy) + EPS2D**2
    # The bound is far below what survives culling and keeps the root's derivative finite.
    compensations = (det / det_dilated).clamp_min(1e-12).sqrt()
    xx, yy = xx + EPS2D, yy + EPS2D
    means2d = focal * slopes + centre

    effective = opacities * compensations if settings.antialiased else opacities.expand_as(depths)
    radii = _radii(xx.detach(), yy.detach(), effective.detach())
    seen = in_depth & _on_screen(means2d.detach(), radii, width, height)
    seen &= (effective >= ALPHA_MIN) & (radii > settings.radius_clip).any(-1)
    return Projection(
        means2d=means2d,
        depths=depths,
        conics=torch.stack([yy, -xy, xx], dim=-1) / det_dilated[..., None],
        compensations=compensations,
        radii=torch.where(seen[..., None], radii.clamp_max(_MAX_RADIUS), 0.0).int(),
    )


def _limit_slopes(slopes: Tensor, focal: Tensor, centre: Tensor, width: int, height: int) -> Tensor:
    """Returns x/z and y/z held within the field of view and a margin, for the Jacobian only.

    Far outside, the linearisation would stretch Gaussians without bound (3DGS does the same).
    """
    size = slopes.new_tensor([width, height])
    margin = _FOV_MARGIN * 0.5 * size / focal
    low, high = -centre / focal - margin, (size - centre) / focal + margin
    return torch.minimum(torch.maximum(slopes, low), high)


def _projected_axes(axes: Tensor, slopes: Tensor, zoom: Tensor) -> tuple[Tensor, Tensor]:
    """Returns rows of (Jacobian x scaled axes): the covariance's entries are their dot products.

    `axes` [C, N, 3, 3] has the scaled principal axes as columns in camera coordinates.
    """
    rows = zoom[..., None] * (axes[..., :2, :] - slopes[..., None] * axes[..., 2:, :])
    return rows[..., 0, :], rows[..., 1, :]


def _radii(xx: Tensor, yy: Tensor, opacities: Tensor) -> Tensor:
    """Returns half sizes [C, N, 2] of the box outside which alpha < 1/255 (Radl et al. 2024, sec.
    B.2).
    """
    extent = torch.sqrt(2 * torch.log((opacities / ALPHA_MIN).clamp_min(1.0)))
    extent = extent.clamp_max(_MAX_EXTENT)
    return torch.ceil(extent[..., None] * torch.stack([xx, yy], dim=-1).sqrt())


def _on_screen(means2d: Tensor, radii: Tensor, width: int, height: int) -> Tensor:
    size = means2d.new_tensor([width, height])
    return ((means2d + radii > 0) & (means2d - radii < size)).all(-1)
