"""gsplat 1.5.3's CUDA rasteriser (Ye et al. 2024) behind `rendering.base.Rasterizer`."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gs_densify.errors import BackendError
from gs_densify.kernels import HAS_TRITON
from gs_densify.rendering.base import GSPLAT_SETTINGS, RenderOutput, RenderSettings
from gs_densify.rendering.colors import Colors, append_aux, camera_centres, in_one, view_colors
from gs_densify.rendering.stages import Composited, Records, output_of, rendered

TILE_SIZE = 16


class GsplatRasterizer:
    """Renders float32 tensors on a CUDA device.

    Raises:
        BackendError: torch sees no CUDA device. (gsplat would fail at the first image, with a
            message about its compiled extension.)
    """

    name = "gsplat"
    devices: tuple[str, ...] = ("cuda",)

    def start(self, device: torch.device) -> None:
        """Makes a CUDA context and imports gsplat's extension.

        Where gsplat was never compiled for this torch, that happens here and takes minutes.
        """
        torch.zeros(1, device=device)
        import gsplat.cuda._backend  # noqa: F401

    def __init__(self) -> None:
        if not torch.cuda.is_available():
            raise BackendError(
                "Rasteriser 'gsplat' was asked for and torch sees no CUDA device",
                expected="gsplat runs on NVIDIA GPUs only",
                action="install a CUDA build of torch on a GPU machine, or use the CPU",
            )

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
            BackendError: there is no Gaussian to render, at which gsplat 1.5.3 divides by zero.
        """
        if means.shape[0] == 0:
            raise BackendError(
                "The scene holds 0 Gaussians",
                expected="gsplat needs at least 1",
                action="check that the strategy's pruning leaves some",
            )
        shapes, has_aux = (means, quats, scales, opacities), aux is not None
        if packed:
            image, alpha, info = _packed(
                shapes,
                colors,
                viewmats,
                Ks,
                (width, height),
                sh_degree=sh_degree,
                aux=aux,
                absgrad=absgrad,
                settings=settings,
            )
            # gsplat does not get the backgrounds: in packed mode it asserts a wrong shape for them.
            return output_of(image, alpha, info, backgrounds, has_aux=has_aux)
        records = self.project(
            *shapes,
            colors,
            viewmats,
            Ks,
            width,
            height,
            sh_degree=sh_degree,
            aux=aux,
            settings=settings,
        )
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
        """See `rendering.stages.StagedRasterizer`.

        gsplat's `rasterization` waits for the GPU to invert camera matrices and wants SH
        coefficients in one tensor; otherwise the stages are the same, and a test compares the two.
        """
        import gsplat

        radii, means2d, depths, conics, compensations = gsplat.fully_fused_projection(
            means,
            None,
            quats,
            scales,
            viewmats,
            Ks,
            width,
            height,
            calc_compensations=settings.antialiased,
            opacities=opacities,  # for tighter radii
            **_clip(settings),
        )
        opacities = opacities.expand(len(viewmats), -1)
        if compensations is not None:
            opacities = opacities * compensations
        channels = self.seen_colors(means, colors, viewmats, radii, sh_degree)
        if aux is not None:
            channels = append_aux(channels, aux)
        return Records(means2d, conics, channels, opacities, depths, radii)

    def seen_colors(
        self,
        means: Tensor,
        colors: Colors,
        viewmats: Tensor,
        radii: Tensor,
        sh_degree: int | None,
    ) -> Tensor:
        """See `rendering.stages.StagedRasterizer`."""
        if HAS_TRITON and isinstance(colors, tuple) and sh_degree:
            from gs_densify.rendering.gsplat.colors_triton import ViewColors

            return ViewColors.apply(means, *colors, camera_centres(viewmats), radii, sh_degree)
        from gsplat import spherical_harmonics

        evaluate = partial(spherical_harmonics, masks=(radii > 0).all(dim=-1))
        return view_colors(means, colors, viewmats, sh_degree, evaluate)

    def composite(
        self, records: Records, width: int, height: int, *, absgrad: bool = False
    ) -> Composited:
        """See `rendering.stages.StagedRasterizer`."""
        import gsplat

        n_cameras = len(records.radii)
        tile_width, tile_height = math.ceil(width / TILE_SIZE), math.ceil(height / TILE_SIZE)
        tiles_per_gauss, isect_ids, flatten_ids = gsplat.isect_tiles(
            records.means2d,
            records.radii,
            records.depths,
            TILE_SIZE,
            tile_width,
            tile_height,
            n_images=n_cameras,
        )
        offsets = gsplat.isect_offset_encode(isect_ids, n_cameras, tile_width, tile_height)
        offsets = offsets.reshape(n_cameras, tile_height, tile_width)
        image, alpha = gsplat.rasterize_to_pixels(
            records.means2d,
            records.conics,
            records.channels,
            records.opacities,
            width,
            height,
            TILE_SIZE,
            offsets,
            flatten_ids,
            absgrad=absgrad,
        )
        lists = {
            "tile_width": tile_width,
            "tile_height": tile_height,
            "tiles_per_gauss": tiles_per_gauss,
            "isect_ids": isect_ids,
            "flatten_ids": flatten_ids,
            "isect_offsets": offsets,
            "tile_size": TILE_SIZE,
        }
        return Composited(image, alpha, lists)


def _clip(settings: RenderSettings) -> dict[str, float]:
    """Returns the settings of culling under gsplat's names."""
    return {
        "near_plane": settings.near_plane,
        "far_plane": settings.far_plane,
        "radius_clip": settings.radius_clip,
    }


Shapes = tuple[Tensor, Tensor, Tensor, Tensor]
Rendered = tuple[Tensor, Tensor, dict[str, Any]]


def _packed(
    shapes: Shapes,
    colors: Colors,
    viewmats: Tensor,
    Ks: Tensor,
    size: tuple[int, int],
    *,
    sh_degree: int | None,
    aux: Tensor | None,
    absgrad: bool,
    settings: RenderSettings,
) -> Rendered:
    """gsplat's `rasterization`, whose `info` holds visible pairs only."""
    from gsplat import rasterization, spherical_harmonics

    values = in_one(colors)
    if aux is not None:
        # Extra channels need colours that are evaluated already.
        seen = view_colors(shapes[0], colors, viewmats, sh_degree, spherical_harmonics)
        values, sh_degree = append_aux(seen, aux), None
    return rasterization(
        *shapes,
        values,
        viewmats,
        Ks,
        *size,
        sh_degree=sh_degree,
        packed=True,
        absgrad=absgrad,
        rasterize_mode="antialiased" if settings.antialiased else "classic",
        **_clip(settings),
    )
