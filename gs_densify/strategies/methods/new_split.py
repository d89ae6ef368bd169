"""Original 3DGS with a split that leaves the first three moments as they were: "New Split".

Feng et al., "A New Split Algorithm for 3D Gaussian Splatting", arXiv 2403.09143 (no public code).
The original split draws two children at random: mass, mean and covariance of what it replaces
change, and the image jumps. The paper cuts a Gaussian (alpha, mu, Sigma) by a plane into two, in
closed form, "consistent in mathematical characteristics and similar in appearance".

Derived here, for a plane with unit normal n through the mean: each half has the moments

    mu+- = mu +- sqrt(2/pi) Sigma n / h,  Sigma' = Sigma - (2/pi) (Sigma n)(Sigma n)^T / h^2,
    h^2 = n^T Sigma n

and, where n is the longest principal axis (of scale sigma), only that axis changes:

    mu+- = mu +- delta sigma n,  sigma' = sigma sqrt(1 - delta^2),
    alpha' = alpha / (2 sqrt(1 - delta^2)),  delta = sqrt(2/pi)

Mass alpha sqrt(det Sigma), mean and covariance of the pair are those of the parent for every
0 < delta < 1; delta is an option. With 0.5 the pair also looks much like its parent.

Every `refine_every` steps, with g the mean over the views that saw a Gaussian of the norm of its
image-plane gradient:

    clone  where g > grow_grad2d and max(s) <= grow_scale3d * scene_scale
    split  where g > grow_grad2d and max(s) >  grow_scale3d * scene_scale
    prune  where opacity < prune_opa or,
           after the first reset, max(s) > prune_scale3d * scene_scale

and every `reset_every` steps all opacities are lowered to at most 2 * prune_opa.

Limits: moments are those of the mass in space, not of the picture: two overlapping children are
composited, not added. Children always part along the longest axis, so there is no chance of leaving
a plane in which flat Gaussians lie. The number of Gaussians follows from the scene, unless
`--budget` chooses it.

Differs from the paper (there is no published code):
- Only its abstract and its statement of the problem were at hand: formulas and default delta are
  our derivation and believed to be its case of a plane through the mean.
- Its other planes and its uses outside training (editing, point clouds) are left out.
- `budget` is our extension: those with the highest g grow, as in `default` with a budget.
- Which Gaussians grow, and when, is the original method's, as gsplat 1.5.3 schedules it, with real
  opacity resets (see `default`).
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gs_densify.model.gaussians import Gaussians
from gs_densify.strategies import growth, ops, splits, statistics
from gs_densify.strategies.base import StepInfo, Strategy
from gs_densify.strategies.limits import require
from gs_densify.strategies.ops import Optimizers, Params, State
from gs_densify.strategies.schedule import refinement_steps

_STATISTICS = ("grad2d", "count")


def clones_and_splits(
    gradients: Tensor, largest: Tensor, *, above: float, size: float
) -> tuple[Tensor, Tensor]:
    """Returns the masks [N] of what to clone and to split.

    They follow from mean gradients [N] and largest scales [N]; `size` parts small from large.
    """
    is_high = gradients > above
    is_small = largest <= size
    return is_high & is_small, is_high & ~is_small


@dataclass
class NewSplitStrategy(Strategy):
    """Original 3DGS with the moment-conserving split."""

    shardable: ClassVar[bool] = True
    totals: ClassVar[tuple[str, ...]] = ("num_at_start",)

    delta: float = math.sqrt(2.0 / math.pi)
    """Distance of a child from its parent, as a share of the parent's largest scale."""
    revised_clone: bool = False
    """Lower the opacity of a clone and its parent so that two cover as one did (2404.06109)."""
    budget: int = 0
    """Gaussians at the end of growth, where the highest gradients grow; 0: the threshold decides.
    """
    prune_opa: float = 0.005
    """Opacity below which a Gaussian is pruned."""
    grow_grad2d: float = 0.0002
    """Mean image-plane gradient (half-image units) above which a Gaussian grows."""
    grow_scale3d: float = 0.01
    """Largest scale, as a share of the scene's radius, up to which growing means cloning."""
    prune_scale3d: float = 0.1
    """Largest scale, as a share of the scene's radius, above which a Gaussian is pruned."""
    refine_start_iter: int = 500
    """Step after which Gaussians are refined."""
    refine_stop_iter: int = 15_000
    """Step from which nothing is refined or reset any more."""
    reset_every: int = 3000
    """Steps between opacity resets."""
    refine_every: int = 100
    """Steps between refinements."""
    absgrad: bool = False
    """Use absolute image-plane gradients (AbsGS), with which 0.0006 to 0.0008 is a usual
    grow_grad2d."""

    def __post_init__(self) -> None:
        counts = ("refine_every", "reset_every")
        require(self, counts, lambda value: value >= 1, "at least 1 step is needed")
        require(self, ("budget",), lambda value: value >= 0, "it must be at least 0 (none)")
        number = "a number between 0 and"
        require(self, ("delta",), lambda value: 0.0 < value < 1.0, f"{number} 1.0 is needed")
        require(self, ("prune_opa",), lambda value: 0.0 < value < 0.5, f"{number} 0.5 is needed")

    def step_pre_backward(
        self, params: Params, optimizers: Optimizers, state: State, step: int, info: StepInfo
    ) -> None:
        """Keeps the gradient of the projected means."""
        info["means2d"].retain_grad()

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
        """Gathers gradients; refines and resets at their steps."""
        if step >= self.refine_stop_iter:
            return
        gaussians = Gaussians(params, optimizers, state)
        self._observe(gaussians, info, packed)
        if step > self.refine_start_iter and step % self.refine_every == 0:
            self._refine(gaussians, step)
            for name in _STATISTICS:
                state[name].zero_()
        if step > 0 and step % self.reset_every == 0:
            ops.reset_opa(*gaussians, value=2.0 * self.prune_opa)

    def _observe(self, gaussians: Gaussians, info: StepInfo, packed: bool) -> None:
        state = gaussians.state
        statistics.zeros_like_rows(state, _STATISTICS, gaussians.params["means"])
        statistics.accumulate_gradients(
            state, gaussians.num, info, absolute=self.absgrad, packed=packed
        )

    def _refine(self, gaussians: Gaussians, step: int) -> None:
        if self.budget:
            growth.refine_to_budget(
                gaussians,
                self.budget,
                step=step,
                steps=refinement_steps(self),
                begin=self.refine_start_iter,
                prune_opa=self.prune_opa,
                is_too_large=lambda: self._is_too_large(gaussians, step),
                score=lambda: _mean_gradient(gaussians),
                grow=lambda is_parent: self._grow_parents(gaussians, is_parent),
            )
            return
        is_clone, is_split = clones_and_splits(
            _mean_gradient(gaussians),
            gaussians.largest_scales,
            above=self.grow_grad2d,
            size=self._size(gaussians),
        )
        self._grow(gaussians, is_clone, is_split)
        is_weak = gaussians.opacities < self.prune_opa
        ops.remove(*gaussians, is_weak | self._is_too_large(gaussians, step))

    def _grow_parents(self, gaussians: Gaussians, is_parent: Tensor) -> None:
        is_small = gaussians.largest_scales <= self._size(gaussians)
        self._grow(gaussians, is_parent & is_small, is_parent & ~is_small)

    def _grow(self, gaussians: Gaussians, is_clone: Tensor, is_split: Tensor) -> None:
        clone = splits.revised_clone if self.revised_clone else ops.duplicate
        clone(*gaussians, is_clone)
        # The clones were appended: they are new and do not split in the same refinement.
        is_split = torch.cat([is_split, is_split.new_zeros(gaussians.num - len(is_split))])
        splits.moment_split(*gaussians, is_split, delta=self.delta)

    def _size(self, gaussians: Gaussians) -> float:
        """Returns the scale that parts small from large."""
        return float(self.grow_scale3d * gaussians.state["scene_scale"])

    def _is_too_large(self, gaussians: Gaussians, step: int) -> Tensor:
        limit = self.prune_scale3d * gaussians.state["scene_scale"]
        return (gaussians.largest_scales > limit) & (step > self.reset_every)


def _mean_gradient(gaussians: Gaussians) -> Tensor:
    """Returns the mean gradient [N] over the views that saw a Gaussian; 0 where none did."""
    gradient: Tensor = gaussians.state["grad2d"] / gaussians.state["count"].clamp_min(1)
    return gradient
