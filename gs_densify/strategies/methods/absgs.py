"""Split by absolute, clone by signed image-plane gradients: AbsGS.

Ye et al., "AbsGS: Recovering Fine Details for 3D Gaussian Splatting", arXiv 2404.10484. The
gradient of a projected mean is a sum over the pixels that the Gaussian covers; under a large
Gaussian over fine detail the terms point different ways and cancel, so it never splits ("gradient
collision"). Summing absolute values of each coordinate instead,

    g_hat = (sum_j |dL_j/dmu_x|, sum_j |dL_j/dmu_y|),

nothing cancels. Every `refine_every` steps, with g and g_hat the means, over the views that saw a
Gaussian, of the norms of the signed and the absolute gradient:

    clone  where |g|     >= grow_grad2d     and max(s) <= grow_scale3d * scene_scale
    split  where |g_hat| >= split_absgrad2d and max(s) >  grow_scale3d * scene_scale
    prune  where opacity < prune_opa or,
           after the first reset, max(s) > prune_scale3d * scene_scale

Small Gaussians, which cover few pixels, do not suffer from the cancelling. Every `reduce_every`
steps opacities are lowered to at most `reduce_opa`, so that nothing opaque near the cameras starves
what is behind it, and every `reset_every` steps to at most `reset_opa`.

Limits: the number of Gaussians follows from the scene, unless `--budget` chooses it. `grow_scale3d`
is a tenth of the original's, so nearly every growth is a split. Thresholds grow as images get
smaller.

Differs from the paper / published code:
- Steps are zero-based, refinements are at start < t < stop and follow the optimisers' step, as in
  gsplat; the published code skips that step at a refinement.
- Pruning by radius on screen is left out: the published code asks for it above 20 pixels, but
  zeroes the radii just before (Inria's code does too, its issue 123), so that it never happens.
- `budget` is our extension: at every refinement those with the highest |g| (small) or |g_hat|
  (large), each over its own threshold, grow, as many as the root curve to the budget asks for
  (arXiv 2508.12313), at most 30 %.
- Its two options outside the paper that are off by default are left out, the pruning by largest
  blending weight and that of large initial Gaussians.
"""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gs_densify.model.gaussians import Gaussians
from gs_densify.strategies import growth, ops, statistics
from gs_densify.strategies.base import StepInfo, Strategy
from gs_densify.strategies.limits import require
from gs_densify.strategies.ops import Optimizers, Params, State
from gs_densify.strategies.schedule import refinement_steps, scaled_steps

_STATISTICS = ("grad2d", "absgrad2d", "count")


def clones_and_splits(
    gradients: Tensor,
    absolute: Tensor,
    largest: Tensor,
    *,
    clone_above: float,
    split_above: float,
    size: float,
) -> tuple[Tensor, Tensor]:
    """Returns the masks [N] of what to clone and to split.

    They follow from mean gradients [N] and largest scales [N]; `size` parts small from large.
    """
    is_small = largest <= size
    return (gradients >= clone_above) & is_small, (absolute >= split_above) & ~is_small


@dataclass
class AbsGSStrategy(Strategy):
    """Original 3DGS with a split that sees gradients which cancel."""

    shardable: ClassVar[bool] = True
    totals: ClassVar[tuple[str, ...]] = ("num_at_start",)

    absgrad = True

    budget: int = 0
    """Gaussians at the end of growth, where the highest gradients grow, each as a share of its
    threshold; 0: the thresholds decide."""
    grow_grad2d: float = 0.0002
    """Mean signed image-plane gradient (half-image units) from which a small Gaussian clones."""
    split_absgrad2d: float = 0.0004
    """Mean absolute image-plane gradient (half-image units) from which a large one splits."""
    grow_scale3d: float = 0.001
    """Largest scale, as a share of the scene's radius, up to which a Gaussian is small."""
    prune_opa: float = 0.005
    """Opacity below which a Gaussian is pruned."""
    prune_scale3d: float = 0.1
    """Largest scale, as a share of the scene's radius, above which a Gaussian is pruned."""
    reduce_opa: float = 0.8
    """Opacity to which all are lowered every `reduce_every` steps."""
    reset_opa: float = 0.01
    """Opacity to which all are lowered every `reset_every` steps."""
    refine_start_iter: int = 500
    """Step after which Gaussians are refined."""
    refine_stop_iter: int = 15_000
    """Step from which nothing is refined, reduced or reset any more."""
    refine_every: int = 100
    """Steps between refinements."""
    reduce_every: int = 500
    """Steps between reductions of the opacities (0: none)."""
    reset_every: int = 3000
    """Steps between opacity resets."""

    def __post_init__(self) -> None:
        counts = ("refine_every", "reset_every")
        require(self, counts, lambda value: value >= 1, "at least 1 is needed")
        require(self, ("budget",), lambda value: value >= 0, "it must be at least 0 (none)")
        require(self, ("reduce_every",), lambda value: value >= 0, "at least 0 is needed")
        number = "a number between 0 and 1 is needed"
        require(self, ("reduce_opa", "reset_opa"), lambda value: 0.0 < value < 1.0, number)

    def scaled(self, factor: float) -> "AbsGSStrategy":
        """Returns the method on a schedule `factor` times as long."""
        strategy: AbsGSStrategy = scaled_steps(self, factor)
        reduce_every = round(self.reduce_every * strategy.refine_every / self.refine_every)
        return dataclasses.replace(strategy, reduce_every=reduce_every)

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
        """Gathers both gradients; refines, reduces and resets at their steps."""
        if step >= self.refine_stop_iter:
            return
        gaussians = Gaussians(params, optimizers, state)
        _observe(gaussians, info, packed)
        if step > self.refine_start_iter and step % self.refine_every == 0:
            self._refine(gaussians, step)
            for name in _STATISTICS:
                state[name].zero_()
        if step > 0 and self.reduce_every and step % self.reduce_every == 0:
            ops.reset_opa(*gaussians, value=self.reduce_opa)
        if step > 0 and step % self.reset_every == 0:
            ops.reset_opa(*gaussians, value=self.reset_opa)

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
                score=lambda: self._score(gaussians),
                grow=lambda is_parent: self._grow_parents(gaussians, is_parent),
            )
            return
        self._grow(gaussians)
        is_weak = gaussians.opacities < self.prune_opa
        ops.remove(*gaussians, is_weak | self._is_too_large(gaussians, step))

    def _grow(self, gaussians: Gaussians) -> None:
        signed, absolute = _mean_gradients(gaussians)
        is_clone, is_split = clones_and_splits(
            signed,
            absolute,
            gaussians.largest_scales,
            clone_above=self.grow_grad2d,
            split_above=self.split_absgrad2d,
            size=self._size(gaussians),
        )
        ops.clone_and_split(*gaussians, is_clone, is_split)

    def _grow_parents(self, gaussians: Gaussians, is_parent: Tensor) -> None:
        is_small = gaussians.largest_scales <= self._size(gaussians)
        ops.clone_and_split(*gaussians, is_parent & is_small, is_parent & ~is_small)

    def _score(self, gaussians: Gaussians) -> Tensor:
        """Returns the gradient that lets a Gaussian of its size grow, over its own threshold."""
        signed, absolute = _mean_gradients(gaussians)
        is_small = gaussians.largest_scales <= self._size(gaussians)
        # Multiplied by the other threshold, since one may be 0.
        return torch.where(is_small, signed * self.split_absgrad2d, absolute * self.grow_grad2d)

    def _size(self, gaussians: Gaussians) -> float:
        """Returns the scale that parts small from large."""
        return float(self.grow_scale3d * gaussians.state["scene_scale"])

    def _is_too_large(self, gaussians: Gaussians, step: int) -> Tensor:
        limit = self.prune_scale3d * gaussians.state["scene_scale"]
        return (gaussians.largest_scales > limit) & (step > self.reset_every)


def _mean_gradients(gaussians: Gaussians) -> tuple[Tensor, Tensor]:
    """Returns the means [N] of the norms of the signed and the absolute gradients."""
    state = gaussians.state
    views = state["count"].clamp_min(1)
    return state["grad2d"] / views, state["absgrad2d"] / views


def _observe(gaussians: Gaussians, info: StepInfo, packed: bool) -> None:
    state = gaussians.state
    statistics.zeros_like_rows(state, _STATISTICS, gaussians.params["means"])
    seen = statistics.visible(info)
    terms = {
        "grad2d": statistics.pixel_gradients(info, absolute=False) * seen,
        "absgrad2d": statistics.pixel_gradients(info, absolute=True) * seen,
        "count": seen.float(),
    }
    for name, values in terms.items():
        state[name] += statistics.sum_over_views(values, info, gaussians.num, packed=packed)
