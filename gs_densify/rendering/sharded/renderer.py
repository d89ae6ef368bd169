"""The renderer of a model that several processes share."""

from __future__ import annotations

from typing import cast

from gs_densify.distributed.group import Group
from gs_densify.rendering.renderer import Renderer
from gs_densify.rendering.sharded.rasterizer import ShardedRasterizer
from gs_densify.rendering.stages import StagedRasterizer


def sharded(renderer: Renderer, group: Group) -> Renderer:
    """Returns a renderer as `renderer`, of Gaussians that the processes of `group` share.

    See `ShardedRasterizer` for how its calls differ; a process alone has `renderer` itself.
    """
    if group.size == 1:
        return renderer
    stages = cast(StagedRasterizer, renderer.rasterizer)
    return Renderer(ShardedRasterizer(stages, group), renderer.settings)
