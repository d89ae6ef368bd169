"""From SH coefficients to the channels that are composited."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Colors = Tensor | tuple[Tensor, Tensor]
"""RGB [N, 3], SH coefficients [N, K, 3], or these in two: [N, 1, 3] and [N, K-1, 3]."""


def in_one(colors: Colors) -> Tensor:
    """Returns SH coefficients in one tensor."""
    return torch.cat(colors, dim=1) if isinstance(colors, tuple) else colors


def camera_centres(viewmats: Tensor) -> Tensor:
    """Centres [C, 3] of world-to-camera matrices, which are rigid.

    Not by `torch.linalg.inv`, which waits for the GPU to say whether a matrix was singular.
    """
    rotations, translations = viewmats[:, :3, :3], viewmats[:, :3, 3:]
    return -(rotations.transpose(1, 2) @ translations)[..., 0]


def view_colors(
    means: Tensor,
    colors: Colors,
    viewmats: Tensor,
    sh_degree: int | None,
    evaluate: Callable[[int, Tensor, Tensor], Tensor],
) -> Tensor:
    """Returns the RGB [C, N, 3] that each camera sees, unclamped above.

    Args:
        means: [N, 3] centres in world units.
        colors: SH coefficients, or [N, 3] RGB where `sh_degree` is None.
        viewmats: [C, 4, 4] world to camera.
        sh_degree: 0 to 3, or None.
        evaluate: the SH sum, of (degree, dirs [C, N, 3], coefficients [C, N, K, 3]).
    """
    n_cameras = viewmats.shape[0]
    values = in_one(colors)
    if sh_degree is None:
        return values.expand(n_cameras, -1, -1)
    dirs = means - camera_centres(viewmats)[:, None]
    rgb = evaluate(sh_degree, dirs, values.expand(n_cameras, -1, -1, -1))
    return (rgb + 0.5).clamp_min(0.0)


def append_aux(colors: Tensor, aux: Tensor) -> Tensor:
    """Returns colours [C, N, 3] and M more channels [N, M], the same for every camera: [C, N, 3 +
    M].
    """
    return torch.cat([colors, aux.expand(colors.shape[0], -1, -1)], dim=-1)
