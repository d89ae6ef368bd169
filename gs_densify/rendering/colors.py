"""From SH coefficients to the channels that are composited."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def view_colors(
    means: Tensor,
    colors: Tensor,
    viewmats: Tensor,
    sh_degree: int | None,
    evaluate: Callable[[int, Tensor, Tensor], Tensor],
) -> Tensor:
    """The RGB [C, N, 3] that each camera sees, unclamped above.

    Args:
        means: [N, 3] centres in world units.
        colors: [N, K, 3] SH coefficients, or [N, 3] RGB where `sh_degree` is None.
        viewmats: [C, 4, 4] world to camera.
        sh_degree: 0 to 3, or None.
        evaluate: the SH sum, of (degree, dirs [C, N, 3], coefficients [C, N, K, 3]).
    """
    n_cameras = viewmats.shape[0]
    if sh_degree is None:
        return colors.expand(n_cameras, -1, -1)
    centres = torch.linalg.inv(viewmats)[:, None, :3, 3]
    rgb = evaluate(sh_degree, means - centres, colors.expand(n_cameras, -1, -1, -1))
    return (rgb + 0.5).clamp_min(0.0)


def append_aux(colors: Tensor, aux: Tensor) -> Tensor:
    """Colours [C, N, 3] and M more channels [N, M], the same for every camera: [C, N, 3 + M]."""
    return torch.cat([colors, aux.expand(colors.shape[0], -1, -1)], dim=-1)
