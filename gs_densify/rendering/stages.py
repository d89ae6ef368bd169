"""A rasteriser in two stages: projecting Gaussians into views, and compositing what each view sees.

Between the two lie records, a row for each pair of a view and a Gaussian. A process may composite
records that others have projected: see `sharded`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from gs_densify.rendering.base import GSPLAT_SETTINGS, Rasterizer, RenderOutput, RenderSettings
from gs_densify.rendering.colors import Colors


@dataclass(frozen=True)
class Records:
    """N Gaussians as C views see them; rows whose radii are 0 are not seen, and mean nothing.

    Attributes:
        means2d: [C, N, 2] centres in pixels.
        conics: [C, N, 3] upper triangle of the inverse covariance.
        channels: [C, N, 3 + M] colour, and further channels.
        opacities: [C, N] as they are rendered.
        depths: [C, N] along the optical axis; their gradient is not needed.
        radii: [C, N, 2] int32, half width and height in pixels.
    """

    means2d: Tensor
    conics: Tensor
    channels: Tensor
    opacities: Tensor
    depths: Tensor
    radii: Tensor


@dataclass(frozen=True)
class Composited:
    """C images.

    Attributes:
        image: [C, H, W, 3 + M] channels over zero.
        alpha: [C, H, W, 1] accumulated opacity.
        lists: what `info` says of tiles, under gsplat's names.
    """

    image: Tensor
    alpha: Tensor
    lists: dict[str, Any]


class StagedRasterizer(Rasterizer, Protocol):
    """A rasteriser whose stages can be called by themselves."""

    def project(
        self,
        means: Tensor,
        quats: Tensor,
        scales: Tensor,
        opacities: Tensor,
        colors: Colors,
        viewmats: Tensor,
        Ks: Tensor,
        width: int,
        height: int,
        *,
        sh_degree: int | None,
        aux: Tensor | None = None,
        settings: RenderSettings = GSPLAT_SETTINGS,
    ) -> Records:
        """Returns what C views see of N Gaussians; arguments are those of a rasteriser."""
        ...

    def seen_colors(
        self,
        means: Tensor,
        colors: Colors,
        viewmats: Tensor,
        radii: Tensor,
        sh_degree: int | None,
    ) -> Tensor:
        """Returns the RGB [C, N, 3] that C views see of N Gaussians, as `project` finds them.

        Where `radii` [C, N, 2] are 0 it is anything.
        """
        ...

    def composite(
        self, records: Records, width: int, height: int, *, absgrad: bool = False
    ) -> Composited:
        """Returns the images of the views of `records`.

        With `absgrad`, backward sets `records.means2d.absgrad`.
        """
        ...


def info_of(records: Records, lists: dict[str, Any], width: int, height: int) -> dict[str, Any]:
    """Returns gsplat's dictionary, as its unpacked mode has it."""
    return {
        "batch_ids": None,
        "camera_ids": None,
        "gaussian_ids": None,
        "radii": records.radii,
        "means2d": records.means2d,
        "depths": records.depths,
        "conics": records.conics,
        "opacities": records.opacities,
        **lists,
        "width": width,
        "height": height,
        "n_batches": 1,
        "n_cameras": len(records.radii),
    }


def rendered(
    stages: StagedRasterizer,
    records: Records,
    width: int,
    height: int,
    backgrounds: Tensor | None,
    *,
    absgrad: bool,
    has_aux: bool,
) -> RenderOutput:
    """Returns what a rasteriser gives for records, which `stages` composites."""
    found = stages.composite(records, width, height, absgrad=absgrad)
    info = info_of(records, found.lists, width, height)
    return output_of(found.image, found.alpha, info, backgrounds, has_aux=has_aux)


def output_of(
    image: Tensor, alpha: Tensor, info: dict[str, Any], backgrounds: Tensor | None, *, has_aux: bool
) -> RenderOutput:
    """Returns channels [C, H, W, 3 + M] over zero as what a rasteriser gives."""
    extra = image[..., 3:] if has_aux else None
    image = image[..., :3]
    if backgrounds is not None:
        image = image + (1 - alpha) * backgrounds[:, None, None, :]
    return RenderOutput(image, alpha, info, extra)
