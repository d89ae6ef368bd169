"""A rasteriser for one process of several, each of which holds a share of the Gaussians."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from gs_densify.rendering.base import GSPLAT_SETTINGS, RenderOutput, RenderSettings
from gs_densify.rendering.colors import Colors
from gs_densify.rendering.sharded.exchange import exchanged
from gs_densify.rendering.stages import Composited, Records, StagedRasterizer, info_of, output_of


def shares(count: int, world: int) -> list[int]:
    """Returns into how many each of `world` ranks gets of `count`, as evenly as can be."""
    return [count // world + (rank < count % world) for rank in range(world)]


class ShardedRasterizer:
    """Renders the Gaussians of all processes; gradients come back to those that hold them.

    A call differs from that of another rasteriser in this: the Gaussians, and `aux`, are those of
    this process; cameras are those of all processes, which pass the same; `backgrounds` and images
    are of this process's views, which are a share of them in order (`shares`). `info` is about this
    process's Gaussians in all views, and has nothing about tiles.

    Every process has to call it at the same time, and to run its backward pass if one does.
    """

    def __init__(self, stages: StagedRasterizer) -> None:
        self._stages = stages
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
        """Renders this process's share of C views; see the class, and `rendering.base.Rasterizer`.

        `packed` has no effect: what is exchanged is what is seen.
        """
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
        views = shares(len(viewmats), dist.get_world_size())
        found = [
            self._composite(records, width, height, absgrad)
            for records in exchanged(mine, views, absgrad=absgrad)
        ]
        count = views[dist.get_rank()]
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
