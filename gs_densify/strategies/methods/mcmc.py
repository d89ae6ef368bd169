"""Move dead Gaussians onto live ones, add a few, and shake all of them: 3DGS-MCMC.

Kheradmand et al., "3D Gaussian Splatting as Markov Chain Monte Carlo", arXiv 2404.09591. Gaussians
are samples of a Langevin chain, so moves and additions must not change the image. With opacity o,
log-scales and quaternions giving Sigma, mean mu, every `refine_every` steps

    relocate  each Gaussian with o <= min_opacity onto a live one drawn in proportion to o
    add       min(max_gaussians, 1.05 N) - N copies of Gaussians drawn in proportion to o

where the N_c Gaussians that then share a place become (Eq. 9)

    o' = 1 - (1 - o)^(1/N_c)
    Sigma' = o^2 (sum_{i=1..N_c} sum_{k=0..i-1} C(i-1, k) (-1)^k o'^(k+1) / sqrt(k+1))^-2 Sigma

and every step (Eq. 8, 10), with the means' learning rate lr,

    mu += lr * noise_lr * sigmoid(-100 (o - 0.005)) * Sigma eta,  eta ~ N(0, I)

The loss gains 0.01 mean(o) + 0.01 mean(s), which makes Gaussians die; they and the initial opacity
of 0.5 and scale of 0.1 are trainer settings and part of the recipe. Without them the method loses
to the original one.

Limits: growth of 5 % a refinement needs about 90 refinements for a factor of 80: with few SfM
points and a short schedule the budget is not reached. With fewer than 20 Gaussians nothing is
added at all, since the target is rounded down.

Differs from the paper / published code:
- Options, order and zero-based steps are gsplat 1.5.3's `MCMCStrategy`, to which it is equal below
  the budget. A refinement follows the optimisers' step, and the noise follows both; the published
  code refines before that step, which it then skips, and adds no noise after the last one.
- As in gsplat, the Gaussians from which copies were added keep their optimiser moments, which the
  published code zeroes.
- Training starts from the SfM points; the published code starts from random ones unless told.
- With `budget`, which `--budget` sets, growth is faster than `growth` where that would not reach
  the budget in the refinements that are left.
- Unlike both, the budget holds even where the SfM points exceed it: the first refinement drops the
  least opaque ones above it (`--max-gaussians` drops them at the start).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from gs_densify.model.gaussians import Gaussians
from gs_densify.strategies import ops
from gs_densify.strategies.base import StepInfo, Strategy
from gs_densify.strategies.limits import require
from gs_densify.strategies.ops import Optimizers, Params, State
from gs_densify.strategies.schedule import needed_growth, refinement_steps


def dead(opacities: Tensor, min_opacity: float) -> Tensor:
    """Returns which Gaussians [N] are to be relocated, from opacities [N] in (0, 1)."""
    return opacities <= min_opacity


def num_added(count: int, growth: float, budget: int) -> int:
    """Returns how many Gaussians to add to `count`: a share `growth`, up to `budget`."""
    return max(0, min(budget, int((1.0 + growth) * count)) - count)


@dataclass
class MCMCStrategy(Strategy):
    """3DGS-MCMC: relocation, growth to a budget, and noise."""

    max_gaussians: int = 1_000_000
    """Never more Gaussians than this."""
    budget: int = 0
    """The same number, reached by faster growth where `growth` is too slow; 0: by `growth`."""
    growth: float = 0.05
    """Share of the Gaussians that is added at each refinement."""
    noise_lr: float = 5e5
    """Noise of the means, as a factor of their learning rate."""
    min_opacity: float = 0.005
    """Opacity up to which a Gaussian is dead and moves."""
    refine_start_iter: int = 500
    """Step after which Gaussians are relocated and added."""
    refine_stop_iter: int = 25_000
    """Step from which neither happens any more; the noise goes on."""
    refine_every: int = 100
    """Steps between refinements."""

    shardable: ClassVar[bool] = True
    recipe: ClassVar[Mapping[str, Any]] = {
        "init.opacity": 0.5,
        "init.scale": 0.1,
        "loss.opacity_reg": 0.01,
        "loss.scale_reg": 0.01,
    }

    def __post_init__(self) -> None:
        counts = ("refine_every", "max_gaussians")
        require(self, counts, lambda value: value >= 1, "at least 1 is needed")
        require(self, ("budget",), lambda value: value >= 0, "it must be at least 0 (none)")
        require(self, ("growth",), lambda value: value >= 0, "at least 0 is needed")
        number = "a number between 0 and 1 is needed"
        require(self, ("min_opacity",), lambda value: 0.0 < value < 1.0, number)

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
        """Relocates and adds at refinements; adds noise always."""
        gaussians = Gaussians(params, optimizers, state)
        is_in_window = self.refine_start_iter < step < self.refine_stop_iter
        if is_in_window and step % self.refine_every == 0:
            self._refine(gaussians, step)
        scaler = info["means_lr"] * self.noise_lr
        ops.inject_noise_to_position(*gaussians, scaler=scaler)

    def _refine(self, gaussians: Gaussians, step: int) -> None:
        budget = self.budget or self.max_gaussians
        ops.remove_surplus(*gaussians, budget)
        is_dead = dead(gaussians.opacities, self.min_opacity)
        ops.relocate(*gaussians, is_dead, min_opacity=self.min_opacity)
        added = num_added(gaussians.num, self.growth, budget)
        if self.budget:
            growth = needed_growth(gaussians.num, budget, step, refinement_steps(self))
            added = min(budget - gaussians.num, max(added, math.ceil(growth * gaussians.num)))
        ops.sample_add(*gaussians, added, min_opacity=self.min_opacity)
