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
from gs_densify.rendering.reference.projection import Projection, project
from gs_densify.rendering.reference.tiles import TileLists, intersect_tiles

TILE_SIZE = 8  # no effect on the image; measured fastest on a CPU


class ReferenceRasterizer:
    """`rendering.base.Rasterizer` in plain torch, for CPUs and as a yardstick for CUDA code.

    `info` has gsplat's keys with the shapes of its unpacked mode, for tiles of 8 pixels where
    gsplat's have 16: read `info["tile_size"]`, as with gsplat itself. Entries of culled
    Gaussians are finite but mean nothing (gsplat leaves them uninitialised).
    """

    name = "reference"
    devices = ("cuda", "cpu")

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
        tiles = intersect_tiles(
            projection.means2d, projection.radii, projection.depths, width, height, TILE_SIZE
        )
        channels = view_colors(means, colors, viewmats, sh_degree, eval_sh)
        if aux is not None:
            channels = append_aux(channels, aux)
        image, alpha = composite(
            projection.means2d,
            projection.conics,
            channels,
            opacities,
            tiles,
            width,
            height,
            absgrad=absgrad,
        )
        extra = None if aux is None else image[..., 3:]
        image = image[..., :3]
        if backgrounds is not None:
            image = image + (1 - alpha) * backgrounds[:, None, None, :]
        info = _info(projection, opacities, tiles, width, height)
        return RenderOutput(image, alpha, info, extra)


def _info(
    projection: Projection, opacities: Tensor, tiles: TileLists, width: int, height: int
) -> dict[str, Any]:
    return {
        "batch_ids": None,
        "camera_ids": None,
        "gaussian_ids": None,
        "radii": projection.radii,
        "means2d": projection.means2d,
        "depths": projection.depths,
        "conics": projection.conics,
        "opacities": opacities,
        "tile_width": tiles.tile_width,
        "tile_height": tiles.tile_height,
        "tiles_per_gauss": tiles.tiles_per_gauss,
        "isect_ids": tiles.isect_ids,
        "flatten_ids": tiles.flatten_ids,
        "isect_offsets": tiles.isect_offsets,
        "width": width,
        "height": height,
        "tile_size": tiles.tile_size,
        "n_batches": 1,
        "n_cameras": projection.means2d.shape[0],
    }
