"""Split the Gaussians on edges along their longest axis, up to a budget: Improved-GS (EDC).

Deng et al., "Improving Densification in 3D Gaussian Splatting for High-Fidelity Rendering",
arXiv 2508.12313, and "Efficient Density Control for 3D Gaussian Splatting", arXiv 2411.10133.
With B = `max_gaussians`, every `refine_every` steps t:

    growth control     N_target(t) = B sqrt((t - 500) / 14000)
    candidates         mean absolute image-plane gradient >= grow_grad2d
    edge-aware score   mean over 10 views of S_v / mean(S_v > 0), S_v(k) = sum_p edge(p) w_k(p)
    parents            N_target - N candidates, drawn without replacement in proportion to it
    long-axis split    two children at mu +- 1.35 sigma_max, longest axis x 0.55, others x 0.893,
                       opacity x 0.6: together they fill the 3 sigma extent of their parent
    prune              opacity < prune_opa, at every refinement but the last; once, early,
                       opacity < early_prune_opa
    recovery-aware     300 steps after the first two opacity resets (to 0.05), after that step's
    pruning            refinement, those below the 20 % quantile of opacity are dropped
    multi-step update  from step 15000 on the optimisers step once in 5 steps, from 22500 in 20

edge is the grey photo's FIND_EDGES, scaled to [0,1] in each view; w_k(p) is the blending weight.
Views are scored in one random order, over and over; all of them at the refinement 400 steps after
those two resets, which replaces what was dropped. Gradients are gathered from refine_start_iter on
and anew after each growth and each recovery-aware pruning: they add up while N_target < N. In the
last refinements (after `growth_stop_iter`) the threshold is 1.5 times lower and the score is the
gradient.

Limits: the budget does not follow from the scene (published: 3 M Gaussians for bicycle, garden and
stump, 1.5 M for flowers and treehill, 1 M indoors). Each scored view costs two renders. Growing by
splits alone adds nothing in gaps that small Gaussians leave.

Differs from the paper / published code (its first release):
- Steps are zero-based and refinements are those of gsplat (t > start, t < stop), after the
  optimisers' step, which there is skipped at a refinement.
- A view's alpha is at most 0.999, as gsplat's; there 0.99.
- Border pixels of the edge map are filtered, while PIL copies them from the photo, and grey values
  are not rounded to 8 bits.
- The rasteriser of that release is an archive that was not at hand; that S_v weighs the edges by
  w_k(p) is what the next release does.
- Candidates that no scored view draws are never split, so that N may fall short of N_target.
- With `budget`, which `--budget` sets, the highest gradients below the threshold split too where
  there are too few candidates, the last refinement ends at the budget exactly, and no
  recovery-aware pruning comes after it.
- A model above the budget loses the surplus, least opaque first, at the first refinement; there it
  keeps them.
- In a scene of fewer than `score_views` views each is scored once; there some count twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from gs_densify.errors import StrategyError
from gs_densify.model.gaussians import Gaussians
from gs_densify.strategies import growth, ops, scores, splits, statistics
from gs_densify.strategies.base import StepInfo, Strategy
from gs_densify.strategies.limits import require
from gs_densify.strategies.ops import Optimizers, Params, State
from gs_densify.strategies.schedule import refinement_steps, scaled_steps

_STATISTICS = ("grad2d", "count")
_LATE_THRESHOLD = 1.5  # by which the gradient threshold is divided after growth_stop_iter


@dataclass
class EDCStrategy(Strategy):
    """Improved-GS: edge-aware long-axis splits to a budget, recovery-aware pruning."""

    recipe: ClassVar[Mapping[str, Any]] = {
        "lr.means": 4e-5,
        "lr.means_final": 0.05,
        "lr.opacities": 0.025,
        "lr.shN": 2.5e-4,
    }

    max_gaussians: int = 1_000_000
    """Gaussians at the end of growth, the budget B."""
    budget: int = 0
    """The same number, reached exactly: where there are too few candidates, the highest gradients
    below the threshold split too; 0: by candidates alone."""
    grow_grad2d: float = 0.0003
    """Mean image-plane gradient (half-image units) from which a Gaussian may split."""
    prune_opa: float = 0.005
    """Opacity below which a Gaussian is pruned, at every refinement but the last."""
    early_prune_opa: float = 0.02
    """Opacity below which a Gaussian is pruned at `early_prune_iter`."""
    early_prune_iter: int = 300
    """Step of the only pruning before refinement starts (0: none)."""
    refine_start_iter: int = 500
    """Step after which gradients are gathered and Gaussians refined; the growth curve's 0."""
    growth_stop_iter: int = 14_500
    """Step at which the growth curve reaches the budget; afterwards the score is the gradient."""
    refine_stop_iter: int = 15_000
    """Step from which nothing is refined or reset any more."""
    refine_every: int = 100
    """Steps between refinements."""
    reset_every: int = 3000
    """Steps between opacity resets."""
    reset_opa: float = 0.05
    """Opacity to which a reset lowers all that are above."""
    recovery_delay: int = 300
    """Steps from a reset to the recovery-aware pruning."""
    recovery_share: float = 0.2
    """Share of the Gaussians, those of lowest opacity, that recovery-aware pruning drops."""
    recovery_stop_iter: int = 9000
    """Step from which there is no recovery-aware pruning and no scoring of all views."""
    all_views_delay: int = 400
    """Steps from a reset to the refinement that scores all training views."""
    score_views: int = 10
    """Training views that a refinement scores, the next ones of a random order."""
    update_5_iter: int = 15_000
    """Step from which the gradients of 5 steps are summed for an update."""
    update_20_iter: int = 22_500
    """Step from which the gradients of 20 steps are summed for an update."""
    absgrad: bool = True
    """Use absolute image-plane gradients (AbsGS)."""
    split_offset: float = 1.35
    """Distance of a child from its parent, in the parent's largest standard deviations."""
    split_long: float = 0.55
    """Factor of a child's longest axis."""
    split_others: float = 0.893
    """Factor of a child's other axes."""
    split_opacity: float = 0.6
    """Factor of a child's opacity."""

    def __post_init__(self) -> None:
        counts = ("max_gaussians", "refine_every", "reset_every", "score_views")
        require(self, counts, lambda value: value >= 1, "at least 1 is needed")
        require(self, ("budget",), lambda value: value >= 0, "it must be at least 0 (none)")
        shares = ("reset_opa", "recovery_share")
        require(self, shares, lambda value: 0.0 < value < 1.0, "it must be between 0 and 1")

    def scaled(self, factor: float) -> "EDCStrategy":
        """Returns the method on a schedule `factor` times as long.

        What follows a reset keeps its place after it.
        """
        shorter = scaled_steps(self, factor)
        from_reset = shorter.refine_every / self.refine_every
        return replace(
            shorter,
            growth_stop_iter=round(self.growth_stop_iter * factor),
            early_prune_iter=round(self.early_prune_iter * factor),
            update_5_iter=round(self.update_5_iter * factor),
            update_20_iter=round(self.update_20_iter * factor),
            recovery_delay=round(self.recovery_delay * from_reset),
            all_views_delay=round(self.all_views_delay * from_reset),
            recovery_stop_iter=round(self.recovery_stop_iter * from_reset),
        )

    def needs_absgrad(self, step: int) -> bool:
        """Returns whether gradients are gathered at this step."""
        return self.absgrad and self._is_observed(step)

    def update_every(self, step: int) -> int:
        """Returns the steps of an update: 1, then 5, then 20."""
        if step < self.update_5_iter:
            return 1
        return 5 if step < self.update_20_iter else 20

    def steps_together(self, step: int) -> int:
        """Returns up to 5 of those whose gradients are summed, once nothing is refined any more."""
        return 1 if step < self.refine_stop_iter else min(5, self.update_every(step))

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
        """Gathers statistics; prunes, splits and resets at their steps."""
        if step >= self.refine_stop_iter:
            return
        gaussians = Gaussians(params, optimizers, state)
        if self._is_observed(step):
            self._observe(gaussians, info, packed)
        if step > 0 and step == self.early_prune_iter:
            ops.remove(*gaussians, gaussians.opacities < self.early_prune_opa)
            _forget(state)
        if self._is_observed(step) and step % self.refine_every == 0:
            self._refine(gaussians, step, info)
        if step > 0 and step % self.reset_every == 0:
            ops.reset_opa(*gaussians, value=self.reset_opa)
        is_recovered = self._since_reset(step) == self.recovery_delay
        # With a budget, only where a refinement follows that makes up for what is dropped.
        if is_recovered and (not self.budget or step < refinement_steps(self)[-1]):
            is_last = below_quantile(gaussians.opacities, self.recovery_share)
            ops.remove(*gaussians, is_last)
            _forget(state)

    def _is_observed(self, step: int) -> bool:
        return self.refine_start_iter < step < self.refine_stop_iter

    def _observe(self, gaussians: Gaussians, info: StepInfo, packed: bool) -> None:
        state = gaussians.state
        statistics.zeros_like_rows(state, _STATISTICS, gaussians.params["means"])
        statistics.accumulate_gradients(
            state, gaussians.num, info, absolute=self.absgrad, packed=packed
        )

    def _since_reset(self, step: int) -> int | None:
        """Returns steps since the last reset, while its recovery is watched."""
        is_watched = self.reset_every < step < self.recovery_stop_iter
        return step % self.reset_every if is_watched else None

    def _refine(self, gaussians: Gaussians, step: int, info: StepInfo) -> None:
        ops.remove_surplus(*gaussians, self.budget or self.max_gaussians)
        self._grow(gaussians, step, info)
        if step + self.refine_every < self.refine_stop_iter:
            ops.remove(*gaussians, gaussians.opacities < self.prune_opa)

    def _grow(self, gaussians: Gaussians, step: int, info: StepInfo) -> None:
        state = gaussians.state
        budget = self.budget or self.max_gaussians
        is_exact = self.budget > 0 and step == refinement_steps(self)[-1]
        stop = step if is_exact else self.growth_stop_iter
        target = growth_target(step, self.refine_start_iter, stop, budget)
        wanted = target - gaussians.num
        if wanted <= 0:
            return
        gradient = state["grad2d"] / state["count"].clamp_min(1)
        is_late = step > self.growth_stop_iter
        threshold = self.grow_grad2d / _LATE_THRESHOLD if is_late else self.grow_grad2d
        if not self.budget and not bool((gradient >= threshold).any()):
            return
        score = gradient if is_late else self._edge_score(state, step, info, gaussians.num)
        is_parent = chosen_to_split(gradient, score, threshold, wanted)
        if self.budget:
            is_parent = growth.completed(is_parent, gradient, wanted)
        splits.long_axis_split(
            *gaussians,
            is_parent,
            offset=self.split_offset,
            shrink_long=self.split_long,
            shrink_others=self.split_others,
            opacity_factor=self.split_opacity,
        )
        _forget(state)

    def _edge_score(self, state: State, step: int, info: StepInfo, count: int) -> Tensor:
        if "probe" not in info:
            raise StrategyError(
                "the edge-aware score renders training views; info['probe'] is missing",
                expected="the trainer must provide it",
            )
        probe = info["probe"]
        views = self._scored_views(state, step, len(probe))
        total = torch.zeros(count, device=info["radii"].device)
        for view in views:
            seen = probe(view, maps=edge_maps).attributed
            assert seen is not None
            total += scores.mean_normalized_positive(seen[:, 0])
        return total / len(views)

    def _scored_views(self, state: State, step: int, num_views: int) -> list[int]:
        """Returns the next views of the order in `state`, or all at the refinement due after a
        reset.
        """
        order = state.setdefault("view_order", scores.random_views(num_views, num_views))
        since = self._since_reset(step)
        first = self.all_views_delay
        is_due = since is not None and first <= since < first + self.refine_every
        count = num_views if is_due else min(self.score_views, num_views)
        state["view_order"] = order[count:] + order[:count]
        return order[:count]


def growth_target(step: int, start: int, stop: int, budget: int) -> int:
    """Returns the Gaussians wanted at `step`: `budget` times the root of the share of growth."""
    share = min(max((step - start) / max(stop - start, 1), 0.0), 1.0)
    return int(budget * share**0.5)


def edge_maps(image: Tensor, render: Tensor) -> Tensor:
    """Returns the edges of one photo [1,H,W,3] in [0,1], as maps [1,H,W,1]."""
    del render
    return scores.min_max_normalized(scores.find_edges_map(image))[..., None]


def chosen_to_split(gradient: Tensor, score: Tensor, threshold: float, wanted: int) -> Tensor:
    """Returns the mask [N] of at most `wanted` with `gradient` >= `threshold`, drawn by `score`."""
    weights = torch.where(gradient >= threshold, score, torch.zeros_like(score))
    drawn = ops.sample_without_replacement(weights, wanted)
    return scores.masked(drawn, len(weights))


def below_quantile(values: Tensor, share: float) -> Tensor:
    """Returns the mask [N] of values below their quantile at `share`, interpolated, for any N.

    `torch.quantile` refuses more than 2^24 values.
    """
    ordered = values.sort().values
    position = share * (len(values) - 1)
    low = int(position)
    high = min(low + 1, len(values) - 1)
    return values < torch.lerp(ordered[low], ordered[high], position - low)


def _forget(state: State) -> None:
    """Starts the statistics anew."""
    for name in _STATISTICS:
        if state.get(name) is not None:
            state[name].zero_()
