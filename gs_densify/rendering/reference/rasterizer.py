"""The torch reference rasteriser: any device, float32 or float64, with gsplat 1.5.3's semantics."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gs_densify.errors import BackendError
from gs_densify.model.sh import eval_sh
from gs_densify.rendering.base import GSPLAT_SETTINGS, RenderOutput, RenderSettings
from gs_densify.rendering.colors import Colors, append_aux, view_colors
from gs_densify.rendering.reference.compositing import composite
from gs_densify.rendering.reference.projection import project
from gs_densify.rendering.reference.tiles import TileLists, intersect_tiles
from gs_densify.rendering.stages import Composited, Records, rendered

TILE_SIZE = 8  # no effect on the image; measured fastest on a CPU


class ReferenceRasterizer:
    """`rendering.base.Rasterizer` in plain torch, for CPUs and as a yardstick for CUDA code.

    `info` has gsplat's keys with the shapes of its unpacked mode, for tiles of 8 pixels where
    gsplat's have 16: read `info["tile_size"]`, as with gsplat itself. Entries of culled
    Gaussians are finite but mean nothing (gsplat leaves them uninitialised).
    """

    name = "reference"
    devices: tuple[str, ...] = ("cuda", "cpu")
    deterministic_on = ("cpu",)

    def start(self, device: torch.device) -> None:
        """Makes a CUDA context, where `device` is a GPU."""
        torch.zeros(1, device=device)

    def __call__(
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
        backgrounds: Tensor | None = None,
        absgrad: bool = False,
        aux: Tensor | None = None,
        packed: bool = False,
        settings: RenderSettings = GSPLAT_SETTINGS,
    ) -> RenderOutput:
        """See `rendering.base.Rasterizer`.

        Raises:
            BackendError: `packed`, which only gsplat has.
        """
        if packed:
            raise BackendError(
                "Packed mode was asked of the reference rasteriser",
                expected="it is gsplat's alone",
                action="leave packed off, or render with gsplat on a CUDA device",
            )
        records = self.project(
            means,
            quats,
            scales,
            opacities,
            colors,
            viewmats,
            Ks,
            width,
            height,
            sh_degree=sh_degree,
            aux=aux,
            settings=settings,
        )
        has_aux = aux is not None
        return rendered(self, records, width, height, backgrounds, absgrad=absgrad, has_aux=has_aux)

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
        """See `rendering.stages.StagedRasterizer`."""
        projection = project(
            means,
            quats,
            scales,
            opacities,
            viewmats,
            Ks,
            width,
            height,
            settings,
        )
        opacities = opacities.expand(viewmats.shape[0], -1)
        if settings.antialiased:
            opacities = opacities * projection.compensations
        channels = self.seen_colors(means, colors, viewmats, projection.radii, sh_degree)
        if aux is not None:
            channels = append_aux(channels, aux)
        return Records(
            projection.means2d,
            projection.conics,
            channels,
            opacities,
            projection.depths,
            projection.radii,
        )

    def seen_colors(
        self,
        means: Tensor,
        colors: Colors,
        viewmats: Tensor,
        radii: Tensor,
        sh_degree: int | None,
    ) -> Tensor:
        """See `rendering.stages.StagedRasterizer`."""
        return view_colors(means, colors, viewmats, sh_degree, eval_sh)

    def composite(
        self, records: Records, width: int, height: int, *, absgrad: bool = False
    ) -> Composited:
        """See `rendering.stages.StagedRasterizer`."""
        tiles = intersect_tiles(
            records.means2d, records.radii, records.depths, width, height, TILE_SIZE
        )
        image, alpha = composite(
            records.means2d,
            records.conics,
            records.channels,
            records.opacities,
            tiles,
            width,
            height,
            absgrad=absgrad,
        )
        return Composited(image, alpha, _lists(tiles))


def _lists(tiles: TileLists) -> dict[str, Any]:
    return {
        "tile_width": tiles.tile_width,
        "tile_height": tiles.tile_height,
        "tiles_per_gauss": tiles.tiles_per_gauss,
        "isect_ids": tiles.isect_ids,
        "flatten_ids": tiles.flatten_ids,
        "isect_offsets": tiles.isect_offsets,
        "tile_size": tiles.tile_size,
    }
