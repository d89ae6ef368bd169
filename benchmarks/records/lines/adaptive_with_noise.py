"""adaptive with the noise of 3DGS-MCMC on its means: tried on sparse captures, and not kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from gs_densify.model.gaussians import Gaussians
from gs_densify.strategies import ops
from gs_densify.strategies.base import StepInfo
from gs_densify.strategies.methods.adaptive import AdaptiveStrategy
from gs_densify.strategies.ops import Optimizers, Params, State


@dataclass
class CustomStrategy(AdaptiveStrategy):
    """adaptive, and noise on the means until a step."""

    recipe: ClassVar[Mapping[str, Any]] = {
        **AdaptiveStrategy.recipe,
        "lr.opacities": 0.05,
        "init.opacity": 0.1,
        "init.scale": 1.0,
        "render.dropout": 0.0,
    }
    noise: float = 0.0
    """Noise of the means, as a factor of their learning rate; mcmc has 5e5."""
    noise_stop_iter: int = 15_000
    """Step from which there is none (it is not scaled with the schedule)."""

    @torch.no_grad()
    def step_post_backward(
        self,
        params: Params,
        optimizers: Optimizers,
        state: State,
        step: int,
        info: StepInfo,
        packed: bool = False,
    ) -> None:
        """Does what adaptive does, and adds the noise."""
        super().step_post_backward(params, optimizers, state, step, info, packed)
        if self.noise > 0 and step < self.noise_stop_iter:
            scaler = info["means_lr"] * self.noise
            ops.inject_noise_to_position(*Gaussians(params, optimizers, state), scaler=scaler)
