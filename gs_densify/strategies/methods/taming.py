"""Clone and split along a fixed count schedule, drawn by a score of many terms: Taming-3DGS.

Mallick, Goel et al., "Taming 3DGS: High-Quality Radiance Fields with Limited Resources",
arXiv 2406.15643. With S Gaussians at the start, the budget B and n the steps of the window over
`refine_every`, refinement x = 1, 2, ... brings the model to (Eq. 2)

    N(x) = a x^2 + k x + S,    k = 2 (B - S) / n,    a = (B - S - k n) / n^2

Gaussians, a parabola that is flat at n; the published schedule ends one refinement before. Those
with a mean image-plane gradient >= grow_grad2d are candidates, which are cloned or split by scale
as in 3DGS; the new ones are shared in proportion to the numbers of both kinds. Parents are drawn
without replacement in proportion to

    score(k) = sum_v 50 loss_v sum_t weight_t term_t(k, v) / median_t,v

over 10 random training views v, with loss_v the photometric loss of the view and median_t,v the
median of the term's positive values over all Gaussians:

    loss      sum of a map over the pixels that the Gaussian enters (alpha >= 1/255, before the
              pixel is opaque), each in full: edge_weight E + mse_weight D with E the photo's
              FIND_EDGES, D the absolute error, both scaled to [0,1] in the view
    blend     sum of its blending weights
    count     number of these pixels
    distance  sum of their distances from the projected centre
    depth     in the view
    radius    3 standard deviations of the projected longer axis, in whole pixels
    gradient  mean image-plane gradient since the last refinement
    opacity
    scale     product of the three scales

Gaussians that a view culls get nothing from it. The first `prune_refinements` refinements then
prune: of n_w Gaussians that 3DGS would prune (by opacity, and by size after the first reset),
`prune_share` n_w are drawn from all Gaussians that were there before growth, in proportion to
1 / (1e-6 + score), and those drawn that 3DGS would prune go. The last published refinement does not
prune, so that the model keeps what it has grown to.

Limits: a scored view costs a render and a walk through its tiles' lists, 10 a refinement. Most
draws of a pruning fall on Gaussians that no scored view shows: few are pruned. The budget is
chosen, not found.

Differs from the paper / published code:
- From step 15000 on the published opacity is |x|, which may exceed 1. Models here store logits, so
  opacities stay below 1 and that phase is left out.
- The published option (off by default) that updates SH coefficients once in 16 steps is left out.
- The pruning is the published code's; the paper calls its growth purely constructive.
- The published code indexes the scores by row after the parents of splits have left, so that its
  pruning weighs a Gaussian by another's score; here each keeps its own.
- A view's alpha is at most 0.999 and its culling is gsplat's; there 0.99 and depth > 0.2. Border
  pixels of the edge map are filtered, while PIL copies them from the photo, and grey values are
  not rounded to 8 bits. SSIM extends the image at its border, while the published one pads zeros.
- Candidates that no scored view shows are never cloned or split, so that growth may fall short of
  N(x); the published sampling fills up with other rows, or fails.
- Where there is no candidate or the model has N(x) Gaussians already, nothing is born; there the
  run fails. A model that starts above the budget loses the surplus, least opaque first, at the
  first refinement.
- With `budget`, which `--budget` sets, the last refinement ends at the budget exactly and does not
  prune, and where too few are drawn, those of highest gradient grow too.
- Steps are zero-based and refinements are gsplat's (t > start, t < stop), after the optimiser's
  step, which there is skipped at a refinement.
- Pruning by radius on screen is left out: the published code asks for it, but zeroes the radii just
  before, so that it never happens.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from gs_densify.errors import StrategyError
from gs_densify.model.gaussians import Gaussians
from gs_densify.rendering.attribution.contributors import Contributions, contributions
from gs_densify.strategies import growth, ops, scores, statistics
from gs_densify.strategies.base import StepInfo, Strategy
from gs_densify.strategies.limits import require
from gs_densify.strategies.ops import Optimizers, Params, State
from gs_densify.strategies.schedule import refinement_steps, scaled_steps

_STATISTICS = ("grad2d", "count")
_LEAST_RESET = 600  # steps that opacities need to recover at this method's learning rate
_SSIM_WEIGHT = 0.2  # of the photometric loss of 3DGS
_VIEW_WEIGHT = 50.0  # of a view's photometric loss in the score


@dataclass
class TamingStrategy(Strategy):
    """Taming-3DGS: a fixed count schedule, and parents drawn by importance."""

    recipe: ClassVar[Mapping[str, Any]] = {"lr.opacities": 0.025, "lr.shN": 2.5e-4}

    max_gaussians: int = 0
    """Gaussians at the end of growth, the budget B (0: `budget_factor` times the first number)."""
    budget: int = 0
    """The same number, reached exactly: where too few are drawn, the highest gradients grow too,
    and the last refinement does not prune; 0: by the draw alone."""
    budget_factor: float = 15.0
    """Budget as a multiple of the Gaussians at the start (published: 15 outdoors, 2 indoors)."""
    grow_grad2d: float = 0.0002
    """Mean image-plane gradient (half-image units) from which a Gaussian may clone or split."""
    grow_scale3d: float = 0.01
    """Largest scale, as a share of the scene's radius, up to which growing means cloning."""
    prune_opa: float = 0.005
    """Opacity below which a Gaussian may be pruned."""
    prune_scale3d: float = 0.1
    """Largest scale, as a share of the scene's radius, above which a Gaussian may be pruned."""
    prune_share: float = 0.5
    """How many Gaussians a pruning draws from all, as a share of those that may be pruned."""
    prune_refinements: int = 27
    """Refinements, counted from the first, that prune."""
    refine_start_iter: int = 500
    """Step after which Gaussians are refined."""
    refine_stop_iter: int = 15_000
    """Step from which nothing is refined or reset any more."""
    refine_every: int = 500
    """Steps between refinements (published: 500, or 100 for large budgets)."""
    reset_every: int = 3000
    """Steps between opacity resets."""
    reset_opa: float = 0.01
    """Opacity to which a reset lowers all that are above."""
    score_views: int = 10
    """Random training views that a refinement scores."""
    edge_weight: float = 50.0
    """Weight of the photo's edges in the map of the loss term."""
    mse_weight: float = 50.0
    """Weight of the absolute error in the map of the loss term (its published name says MSE)."""
    loss_weight: float = 10.0
    """Weight of the loss term."""
    gradient_weight: float = 25.0
    """Weight of the gradient."""
    distance_weight: float = 50.0
    """Weight of the distances of the pixels from the centre."""
    opacity_weight: float = 100.0
    """Weight of the opacity."""
    depth_weight: float = 5.0
    """Weight of the depth."""
    radius_weight: float = 10.0
    """Weight of the radius in the image."""
    scale_weight: float = 25.0
    """Weight of the product of the three scales."""
    count_weight: float = 0.1
    """Weight of the number of pixels that a Gaussian enters."""
    blend_weight: float = 50.0
    """Weight of the sum of blending weights."""

    def __post_init__(self) -> None:
        counts = ("refine_every", "reset_every", "score_views")
        require(self, counts, lambda value: value >= 1, "at least 1 is needed")
        budget = "it must be positive, or 0 for budget_factor times the Gaussians at the start"
        require(self, ("max_gaussians",), lambda value: value >= 0, budget)
        none = "it must be at least 0 (none)"
        require(self, ("budget", "prune_refinements"), lambda value: value >= 0, none)
        require(self, ("budget_factor",), lambda value: value > 0.0, "it must be positive")
        between = "it must be between 0 and 1"
        require(self, ("prune_share",), lambda value: 0.0 <= value <= 1.0, between)
        require(self, ("reset_opa",), lambda value: 0.0 < value < 1.0, between)

    def scaled(self, factor: float) -> "TamingStrategy":
        """Returns the method on a schedule `factor` times as long.

        Opacities recover from a reset at their own pace: resets are never brought closer together
        than 600 steps. The same share of the refinements prunes.
        """
        shorter = scaled_steps(self, factor)
        least = min(_LEAST_RESET, self.reset_every)
        pruning = self.prune_refinements * shorter._num_refinements / self._num_refinements
        return replace(
            shorter,
            reset_every=max(shorter.reset_every, least),
            prune_refinements=round(pruning),
        )

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
        """Gathers statistics; refines and resets at their steps."""
        if step >= self.refine_stop_iter:
            return
        gaussians = Gaussians(params, optimizers, state)
        state.setdefault("start_count", gaussians.num)
        self._observe(gaussians, info, packed)
        if step > self.refine_start_iter and step % self.refine_every == 0:
            self._refine(gaussians, step, info)
        if step > 0 and step % self.reset_every == 0:
            ops.reset_opa(*gaussians, value=self.reset_opa)

    def _observe(self, gaussians: Gaussians, info: StepInfo, packed: bool) -> None:
        state = gaussians.state
        statistics.zeros_like_rows(state, _STATISTICS, gaussians.params["means"])
        statistics.accumulate_gradients(state, gaussians.num, info, absolute=False, packed=packed)

    def _refine(self, gaussians: Gaussians, step: int, info: StepInfo) -> None:
        state = gaussians.state
        budget = self.budget or self.max_gaussians or int(self.budget_factor * state["start_count"])
        ops.remove_surplus(*gaussians, budget)
        gradient = state["grad2d"] / state["count"].clamp_min(1)
        importance = self._importance(gaussians, gradient, info)
        target = self._target(step, state, budget)
        is_split = self._grow(gaussians, gradient, importance, target)
        is_exact = self.budget > 0 and step == refinement_steps(self)[-1]
        if self._refinement(step) <= self.prune_refinements and not is_exact:
            # New ones are appended, so that the first rows are those that stayed, in their order.
            self._prune(gaussians, step, importance[~is_split])
        for name in _STATISTICS:
            state[name].zero_()

    @property
    def _num_refinements(self) -> int:
        """Returns the n of the count schedule."""
        return max(1, (self.refine_stop_iter - self.refine_start_iter) // self.refine_every)

    def _refinement(self, step: int) -> int:
        """Returns the number x of the refinement at `step`, from 1."""
        return step // self.refine_every - self.refine_start_iter // self.refine_every

    def _target(self, step: int, state: State, budget: int) -> int:
        """Returns N(x) at this step; the budget where the model started above it."""
        if self.budget and step == refinement_steps(self)[-1]:
            return budget
        last = self._num_refinements
        x = min(self._refinement(step), last)
        return min(parabola(x, last, state["start_count"], budget), budget)

    def _grow(
        self, gaussians: Gaussians, gradient: Tensor, importance: Tensor, target: int
    ) -> Tensor:
        """Grows towards `target` Gaussians; returns the mask [N] of those that were split."""
        size = self.grow_scale3d * gaussians.state["scene_scale"]
        is_small = gaussians.largest_scales <= size
        wanted = target - gaussians.num
        is_clone, is_split = chosen_to_grow(
            gradient >= self.grow_grad2d, is_small, importance, wanted
        )
        if self.budget:
            is_parent = growth.completed(is_clone | is_split, gradient, wanted)
            is_clone, is_split = is_parent & is_small, is_parent & ~is_small
        ops.clone_and_split(*gaussians, is_clone, is_split)
        return is_split

    def _prune(self, gaussians: Gaussians, step: int, importance: Tensor) -> None:
        is_weak = gaussians.opacities < self.prune_opa
        if step > self.reset_every:
            limit = self.prune_scale3d * gaussians.state["scene_scale"]
            is_weak |= gaussians.largest_scales > limit
        is_dead = chosen_to_prune(is_weak, importance, self.prune_share)
        ops.remove(*gaussians, is_dead)

    def _importance(self, gaussians: Gaussians, gradient: Tensor, info: StepInfo) -> Tensor:
        if "probe" not in info:
            raise StrategyError(
                "the score renders training views; info['probe'] is missing",
                expected="the trainer must provide it",
            )
        probe = info["probe"]
        total = torch.zeros_like(gradient)
        common = {
            "gradient": gradient,
            "opacity": gaussians.opacities,
            "scale": gaussians.params["scales"].sum(dim=-1).exp(),
        }
        for view in scores.random_views(len(probe), self.score_views):
            seen = probe(view)
            pixel_map = self._pixel_map(seen.image, seen.render)
            found = contributions(seen.info, len(gradient), pixel_map)
            loss = scores.error_map(seen.render, seen.image, _SSIM_WEIGHT).mean()
            terms = {**common, **view_terms(seen.info, found)}
            score = _VIEW_WEIGHT * loss * weighted_sum(terms, self._weights)
            total += torch.where(statistics.visible(seen.info)[0], score, 0.0)
        return total

    def _pixel_map(self, image: Tensor, render: Tensor) -> Tensor:
        """Returns the map [1,H,W] of the loss term, from the photo and what was rendered
        [1,H,W,3].
        """
        edges = scores.min_max_normalized(scores.find_edges_map(image))
        errors = scores.min_max_normalized((render - image).abs().mean(dim=-1))
        return self.edge_weight * edges + self.mse_weight * errors

    @property
    def _weights(self) -> dict[str, float]:
        names = (
            *("loss", "blend", "count", "distance", "gradient"),
            *("opacity", "depth", "radius", "scale"),
        )
        return {name: getattr(self, f"{name}_weight") for name in names}


def parabola(x: int, last: int, start: int, budget: int) -> int:
    """Returns N(x), from `start` at 0 to `budget` at `last`, where it is flat."""
    slope = 2 * (budget - start) / last
    curvature = (budget - start - slope * last) / last**2
    return int(curvature * x**2 + slope * x + start)


def view_terms(info: StepInfo, found: Contributions) -> dict[str, Tensor]:
    """Returns the terms [N] that one view gives, 0 where they do not hold.

    Args:
        info: the rasteriser's, unpacked, of a single view.
        found: contributions to that view, with the map of the loss term.
    """
    assert found.mapped is not None and found.distances is not None
    is_drawn = statistics.visible(info)[0]
    return {
        "loss": found.mapped[0],
        "blend": found.sums[0],
        "count": found.pixels[0].to(found.sums.dtype),
        "distance": found.distances[0],
        "depth": torch.where(is_drawn, info["depths"][0], 0.0),
        "radius": torch.where(is_drawn, screen_radius(info["conics"][0]), 0.0),
    }


def screen_radius(conics: Tensor) -> Tensor:
    """Returns 3 standard deviations of the longer axis in whole pixels [N], as 3DGS's code has it.

    `conics` [N,3] is the upper triangle of the inverse of the projected covariance.
    """
    determinant = conics[:, 0] * conics[:, 2] - conics[:, 1] ** 2
    middle = (conics[:, 0] + conics[:, 2]) / (2 * determinant)
    longest = middle + (middle**2 - 1 / determinant).clamp_min(0.1).sqrt()
    return (3 * longest.sqrt()).ceil()


def weighted_sum(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Returns the sum [N] of weights times terms [N] over the medians of their positive values."""
    total = torch.zeros_like(next(iter(terms.values())))
    for name, term in terms.items():
        total += weights[name] * scores.median_normalized(term)
    return total


def chosen_to_grow(
    is_candidate: Tensor, is_small: Tensor, importance: Tensor, wanted: int
) -> tuple[Tensor, Tensor]:
    """Returns masks [N] of what to clone and to split, drawn in proportion to `importance` [N]."""
    kinds = (is_candidate & is_small, is_candidate & ~is_small)
    clones, splits = (int(kind.sum()) for kind in kinds)
    drawn = (
        ops.sample_without_replacement(torch.where(kind, importance, 0.0), number)
        for kind, number in zip(kinds, shared_growth(wanted, clones, splits), strict=True)
    )
    is_clone, is_split = (scores.masked(rows, len(importance)) for rows in drawn)
    return is_clone, is_split


def shared_growth(wanted: int, clones: int, splits: int) -> tuple[int, int]:
    """Returns how many to clone and to split, in proportion to the candidates and rounded down."""
    candidates = max(1, clones + splits)
    added = max(0, min(wanted, clones + splits))
    return added * clones // candidates, added * splits // candidates


def chosen_to_prune(is_weak: Tensor, importance: Tensor, share: float) -> Tensor:
    """Returns the mask [N] of the weak among `share` times as many Gaussians as are weak.

    These are drawn from the first M, whose `importance` [M] is known, in proportion to
    1 / (1e-6 + importance).
    """
    weights = importance.new_zeros(len(is_weak))
    weights[: len(importance)] = 1 / (1e-6 + importance)
    drawn = ops.sample_without_replacement(weights, int(share * int(is_weak.sum())))
    return is_weak & scores.masked(drawn, len(is_weak))
