"""A rasteriser for one process of several, each of which holds a share of the Gaussians."""

from __future__ import annotations

import torch
from torch import Tensor

from gs_densify.distributed.group import Group
from gs_densify.errors import BackendError
from gs_densify.rendering.base import GSPLAT_SETTINGS, RenderOutput, RenderSettings
from gs_densify.rendering.colors import Colors
from gs_densify.rendering.sharded.exchange import exchanged
from gs_densify.rendering.stages import Composited, Records, StagedRasterizer, info_of, output_of


class ShardedRasterizer:
    """Renders the Gaussians of all processes; gradients come back to those that hold them.

    A call differs from that of another rasteriser in this: the Gaussians, and `aux`, are those of
    this process; cameras are those of all processes, which pass the same; `backgrounds` and images
    are of this process's part of the views (`Group.part`). `info` is about this process's Gaussians
    in all views, and has nothing about tiles.

    Every process has to call it at the same time, and to run its backward pass if one does.
    """

    def __init__(self, stages: StagedRasterizer, group: Group) -> None:
        self._stages, self._group = stages, group
        self.name, self.devices = stages.name, stages.devices

    def start(self, device: torch.device) -> None:
        """Starts the rasteriser whose stages are used."""
        self._stages.start(device)

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
        """Renders this process's part of C views; see the class, and `rendering.base.Rasterizer`.

        Raises:
            BackendError: `packed`.
        """
        if packed:
            raise BackendError(
                "Packed mode was asked for where several processes share the Gaussians",
                expected="what they exchange is packed anyway, and `info` never is",
                action="leave packed off",
            )
        mine = self._stages.project(
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
        found = [
            self._composite(records, width, height, absgrad)
            for records in exchanged(mine, self._group, absgrad=absgrad)
        ]
        count = len(viewmats[self._group.part(len(viewmats))])
        image = torch.cat([one.image for one in found])[:count]
        alpha = torch.cat([one.alpha for one in found])[:count]
        info = info_of(mine, {}, width, height)
        return output_of(image, alpha, info, backgrounds, has_aux=aux is not None)

    def _composite(self, records: Records, width: int, height: int, absgrad: bool) -> Composited:
        if records.radii.shape[1]:
            return self._stages.composite(records, width, height, absgrad=absgrad)
        # Nothing is seen; the gradients of others have to come back through this process still.
        blank = 0 * records.means2d.sum() + records.channels.sum(dim=1)[:, None, None]
        image = blank.expand(-1, height, width, -1)
        return Composited(image, image[..., :1], {})
