"""gsplat 1.5.3's CUDA rasteriser (Ye et al. 2024) behind `rendering.base.Rasterizer`."""

from __future__ import annotations

import torch
from torch import Tensor

from gs_densify.errors import BackendError
from gs_densify.rendering.base import RenderOutput
from gs_densify.rendering.colors import append_aux, view_colors


class GsplatRasterizer:
    """Renders float32 tensors on a CUDA device.

    Raises:
        BackendError: torch sees no CUDA device. (gsplat would fail at the first image, with a
            message about its compiled extension.)
    """

    name = "gsplat"

    def __init__(self) -> None:
        if not torch.cuda.is_available():
            raise BackendError(
                "Rasteriser 'gsplat' was asked for and torch sees no CUDA device; gsplat runs on "
                "NVIDIA GPUs only; install a CUDA build of torch on a GPU machine, or use the CPU."
            )

    def __call__(
        self,
        means: Tensor,
        quats: Tensor,
        scales: Tensor,
        opacities: Tensor,
        colors: Tensor,
        viewmats: Tensor,
        Ks: Tensor,
        width: int,
        height: int,
        *,
        sh_degree: int | None,
        backgrounds: Tensor | None = None,
        antialiased: bool = False,
        absgrad: bool = False,
        aux: Tensor | None = None,
        packed: bool = False,
        near_plane: float = 0.01,
        far_plane: float = 1e10,
        radius_clip: float = 0.0,
    ) -> RenderOutput:
        """See `rendering.base.Rasterizer`.

        Raises:
            BackendError: there is no Gaussian to render, at which gsplat 1.5.3 divides by zero.
        """
        from gsplat import rasterization, spherical_harmonics

        if means.shape[0] == 0:
            raise BackendError(
                "The scene holds 0 Gaussians; gsplat needs at least 1; "
                "check that the strategy's pruning leaves some."
            )
        if aux is not None:
            # Extra channels need colours that are evaluated already.
            seen = view_colors(means, colors, viewmats, sh_degree, spherical_harmonics)
            colors = append_aux(seen, aux)
            sh_degree = None
        image, alpha, info = rasterization(
            means,
            quats,
            scales,
            opacities,
            colors,
            viewmats,
            Ks,
            width,
            height,
            near_plane=near_plane,
            far_plane=far_plane,
            radius_clip=radius_clip,
            sh_degree=sh_degree,
            packed=packed,
            absgrad=absgrad,
            rasterize_mode="antialiased" if antialiased else "classic",
        )
        extra = None if aux is None else image[..., 3:]
        image = image[..., :3]
        if backgrounds is not None:
            # Not passed to gsplat, which in packed mode asserts the wrong shape for it.
            image = image + (1 - alpha) * backgrounds[:, None, None, :]
        return RenderOutput(image, alpha, info, extra)
