"""How training renders the views of a step: not quite as they are scored."""

from __future__ import annotations

import torch
from torch import Tensor

from gs_densify.config.options import TrainConfig
from gs_densify.model.adam import UpdateInBackward
from gs_densify.model.types import Splats
from gs_densify.rendering.base import RenderOutput
from gs_densify.rendering.renderer import Renderer
from gs_densify.strategies.adapter import StrategyAdapter
from gs_densify.training import dropout
from gs_densify.training.batches import Batch
from gs_densify.training.modules.base import Modules
from gs_densify.training.schedule import Schedule


class Forward:
    """Renders with random backgrounds, without some Gaussians, and from the cameras of modules, as
    a run's options say.
    """

    def __init__(
        self,
        config: TrainConfig,
        adapter: StrategyAdapter,
        renderer: Renderer,
        schedule: Schedule,
        modules: Modules,
        *,
        dropout: float,
    ) -> None:
        """Takes a renderer of the cameras of all processes, and the share of the Gaussians that the
        first step leaves out.
        """
        self._config, self._adapter, self._renderer = config, adapter, renderer
        self._schedule, self._modules, self._dropout = schedule, modules, dropout

    def __call__(
        self,
        splats: Splats,
        batch: Batch,
        step: int,
        aux: Tensor | None = None,
        update: UpdateInBackward | None = None,
    ) -> RenderOutput:
        """Returns this process's part of the views, with channels `aux` [N,M] beside the colours.

        The modules have yet to change the image. `update` are the steps that the backward pass may
        make.
        """
        options = self._config.render
        backgrounds = None
        if options.background == "random":
            backgrounds = torch.rand(len(batch.indices), 3, device=batch.images.device)[batch.part]
        left_out = dropout.share_left_out(self._dropout, step, self._config.length)
        drawn = dropout.without_some(splats, left_out)
        return self._renderer(
            drawn,
            self._modules.cameras(batch.viewmats, batch.indices),
            batch.Ks,
            *batch.size,
            sh_degree=self._schedule.sh_degree(step),
            backgrounds=backgrounds,
            absgrad=options.absgrad or self._adapter.needs_absgrad(step),
            packed=options.packed,
            aux=aux,
            view=batch.rendered[0] if len(batch.rendered) == 1 else None,
            update=None if update is None else update.through(drawn),
        )


def zero_channels(splats: Splats, count: int) -> Tensor:
    """Returns channels [N,count] whose gradient is what maps of pixels attribute to Gaussians."""
    means = splats["means"]
    return torch.zeros(len(means), count, device=means.device, requires_grad=True)
