"""adaptive that looks at how many views a Gaussian covers a pixel of: tried, and not kept."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gs_densify.model.gaussians import Gaussians
from gs_densify.strategies import ops, scores
from gs_densify.strategies.base import StepInfo
from gs_densify.strategies.methods.adaptive import AdaptiveStrategy
from gs_densify.strategies.ops import State


@dataclass
class CustomStrategy(AdaptiveStrategy):
    """adaptive with a cover: the sum over observed views of the smaller of weight and one pixel."""

    cover_power: float = 0.0
    """Exponent of the cover as a share of the observed views, by which the score is multiplied."""
    cover_every: int = 0
    """Steps after which those with the smallest cover are pruned; 0: they never are."""
    cover_prune: float = 0.03
    """Share of the Gaussians that is pruned then."""

    @property
    def _statistics(self) -> tuple[str, ...]:
        return (*super()._statistics, "cover")

    def _observe_error(self, state: State, info: StepInfo) -> None:
        super()._observe_error(state, info)
        state["cover"] += info["attributed"][:, 1].clamp_max(1)

    def _refine(self, gaussians: Gaussians, step: int, reduction: int) -> None:
        state = gaussians.state
        before = state.get("cover_before")
        if before is None or len(before) != gaussians.num:
            before = state["cover"].clone()
        state["cover_before"] = torch.maximum(0.7 * before, state["cover"])
        is_late = step >= 0.93 * self.refine_stop_iter
        if self.cover_every and step % self.cover_every == 0 and not is_late:
            surplus = round(self.cover_prune * gaussians.num)
            means = gaussians.params["means"].detach()
            ops.remove(*gaussians, scores.lowest(state["cover_before"], surplus, means))
        super()._refine(gaussians, step, reduction)

    def _quality(self, gaussians: Gaussians, gradient: Tensor) -> Tensor:
        share = (gaussians.state["cover"] / self.observations).clamp(1e-3, 1)
        return super()._quality(gaussians, gradient) * share**self.cover_power
