"""Clone and split along a fixed count schedule, drawn by a score of many terms: Taming-3DGS.

Mallick, Goel et al., "Taming 3DGS: High-Quality Radiance Fields with Limited Resources",
arXiv 2406.15643. With S Gaussians at the start, the budget B and n refinements, refinement x has

    N(x) = a x^2 + k x + S,    k = 2 (B - S) / n,    a = (B - S - k n) / n^2

Gaussians, a parabola that ends flat. Candidates have a mean image-plane gradient >= grow_grad2d;
they are cloned or split by scale as in 3DGS, the N(x) - N births being shared in proportion to the
numbers of both kinds. Who is chosen is drawn without replacement in proportion to

    score(k) = sum_v loss_v sum_t weight_t normalized(term_t(k, v))

over 10 random training views v, with loss_v the photometric loss of the view and the terms divided
by the median of their positive values:

    loss      sum_p m(p) w_k(p), with m = edge_weight E + mse_weight D: E the photo's FIND_EDGES, D
              the squared error, both scaled to [0,1] in the view; w_k(p) the blending weight
    blend     sum_p w_k(p)
    count     pixels of the footprint (alpha >= 1/255)
    distance  sum of their distances from the projected centre
    gradient  mean image-plane gradient since the last refinement
    opacity, depth (of the view), radius (in pixels), scale (largest, world units)

Only Gaussians that the view draws (blend > 0) get a score from it. A refinement then prunes half of
those that 3DGS would prune (opacity, and size after the first reset), the less important the
likelier: drawn in proportion to 1 / (1e-6 + score).

Limits: a scored view costs two renders, 20 a refinement. The budget is chosen, not found.

Differs from the paper / published code:
- From step 15000 on the published opacity is |x|, which may exceed 1. Models here store logits, so
  opacities stay below 1 and that phase is left out.
- The published option that updates SH coefficients once in 16 steps belongs to the trainer.
- gsplat does not count fragments: count and distance are those of the ellipse in closed form,
  whatever occludes it and however much of it is outside the image. loss and blend are exact.
- Candidates and Gaussians to prune are drawn by kind; those that no scored view draws are never
  cloned or split, so that births may fall short of N(x).
- Children have their parent's score in the pruning that follows.
- Steps are zero-based and refinements are gsplat's (t > start, t < stop); n counts these, so that
  the last one reaches B. A model that starts above the budget loses the surplus, least opaque
  first, at the first refinement; where N(x) < N for another reason nothing is born.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from gs_densify.errors import ConfigError, StrategyError
from gs_densify.strategies import ops, scores, statistics
from gs_densify.strategies.base import Strategy
from gs_densify.strategies.ops import Optimizers, Params, State
from gs_densify.strategies.schedule import scaled_steps

_STATISTICS = ("grad2d", "count")
_LEAST_RESET = 600  # steps that opacities need to recover at this method's learning rate
_SSIM_WEIGHT = 0.2  # of the photometric loss of 3DGS


@dataclass
class TamingStrategy(Strategy):
    """Taming-3DGS: a fixed count schedule, and births drawn by importance."""

    recipe: ClassVar[Mapping[str, Any]] = {"lr.opacities": 0.025, "lr.shN": 2.5e-4}

    max_gaussians: int = 0
    """Gaussians at the end of growth, the budget B (0: `budget_factor` times the first number)."""
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
    """Share of the Gaussians that may be pruned that a refinement does prune."""
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
    """Weight of the squared error in the map of the loss term."""
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
    """Weight of the largest scale."""
    count_weight: float = 0.1
    """Weight of the number of pixels."""
    blend_weight: float = 50.0
    """Weight of the sum of blending weights."""

    def __post_init__(self) -> None:
        for name in ("refine_every", "reset_every", "score_views"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; at least 1 is needed")
        if self.max_gaussians < 0:
            raise ConfigError(
                f"max_gaussians is {self.max_gaussians}; it must be positive, or 0 for"
                " budget_factor times the Gaussians at the start"
            )
        if self.budget_factor <= 0.0:
            raise ConfigError(f"budget_factor is {self.budget_factor}; it must be positive")
        if not 0.0 <= self.prune_share <= 1.0:
            raise ConfigError(f"prune_share is {self.prune_share}; it must be between 0 and 1")
        if not 0.0 < self.reset_opa < 1.0:
            raise ConfigError(f"reset_opa is {self.reset_opa}; it must be between 0 and 1")

    def scaled(self, factor: float) -> "TamingStrategy":
        """The method on a schedule `factor` times as long.

        Opacities recover from a reset at their own pace: resets are never brought closer together
        than 600 steps.
        """
        shorter = scaled_steps(self, factor)
        least = min(_LEAST_RESET, self.reset_every)
        return replace(shorter, reset_every=max(shorter.reset_every, least))

    def step_pre_backward(
        self, params: Params, optimizers: Optimizers, state: State, step: int, info: dict[str, Any]
    ) -> None:
        """Keep the gradient of the projected means."""
        info["means2d"].retain_grad()

    @torch.no_grad()
    def step_post_backward(
        self,
        params: Params,
        optimizers: Optimizers,
        state: State,
        step: int,
        info: dict[str, Any],
        packed: bool = False,
    ) -> None:
        """Gather statistics; refine and reset at their steps."""
        if step >= self.refine_stop_iter:
            return
        state.setdefault("start_count", ops.count(params))
        self._observe(params, state, info, packed)
        if step > self.refine_start_iter and step % self.refine_every == 0:
            self._refine(params, optimizers, state, step, info)
        if step > 0 and step % self.reset_every == 0:
            ops.reset_opa(params, optimizers, state, value=self.reset_opa)

    def _observe(self, params: Params, state: State, info: dict[str, Any], packed: bool) -> None:
        statistics.zeros_like_rows(state, _STATISTICS, params["means"])
        statistics.accumulate_gradients(
            state, ops.count(params), info, absolute=False, packed=packed
        )

    def _refine(
        self, params: Params, optimizers: Optimizers, state: State, step: int, info: dict[str, Any]
    ) -> None:
        budget = self.max_gaussians or round(self.budget_factor * state["start_count"])
        surplus = ops.count(params) - budget
        if surplus > 0:
            logits = params["opacities"].flatten()
            ops.remove(params, optimizers, state, scores.lowest(logits, surplus))
        gradient = state["grad2d"] / state["count"].clamp_min(1)
        # Among the statistics, the score follows every operation.
        state["importance"] = self._importance(params, gradient, info)
        self._grow(params, optimizers, state, gradient, self._target(step, state, budget))
        self._prune(params, optimizers, state, step)
        del state["importance"]
        for name in _STATISTICS:
            state[name].zero_()

    def _target(self, step: int, state: State, budget: int) -> int:
        """N(x) at this step; the budget where the model started above it."""
        before = self.refine_start_iter // self.refine_every
        last = (self.refine_stop_iter - 1) // self.refine_every - before
        x = step // self.refine_every - before
        return min(parabola(x, last, state["start_count"], budget), budget)

    def _grow(
        self,
        params: Params,
        optimizers: Optimizers,
        state: State,
        gradient: Tensor,
        target: int,
    ) -> None:
        wanted = target - ops.count(params)
        if wanted <= 0:
            return
        is_small = ops.largest_scale(params) <= self.grow_scale3d * state["scene_scale"]
        is_clone, is_split = chosen_to_grow(
            gradient >= self.grow_grad2d, is_small, state["importance"], wanted
        )
        ops.clone_and_split(params, optimizers, state, is_clone, is_split)

    def _prune(self, params: Params, optimizers: Optimizers, state: State, step: int) -> None:
        is_weak = params["opacities"].flatten().sigmoid() < self.prune_opa
        if step > self.reset_every:
            is_weak |= ops.largest_scale(params) > self.prune_scale3d * state["scene_scale"]
        is_dead = chosen_to_prune(is_weak, state["importance"], self.prune_share)
        ops.remove(params, optimizers, state, is_dead)

    def _importance(self, params: Params, gradient: Tensor, info: dict[str, Any]) -> Tensor:
        if "probe" not in info:
            raise StrategyError(
                "the score renders training views; info['probe'] is missing, which the trainer"
                " must provide"
            )
        probe = info["probe"]
        total = torch.zeros_like(gradient)
        common = {
            "gradient": gradient,
            "opacity": params["opacities"].flatten().sigmoid(),
            "scale": ops.largest_scale(params),
        }
        for view in scores.random_views(len(probe), self.score_views):
            seen = probe(view, maps=self._maps)
            loss = scores.error_map(seen.render, seen.image, _SSIM_WEIGHT).mean()
            terms = {**common, **view_terms(seen.info, seen.attributed)}
            total += loss * weighted_sum(terms, self._weights)
        return total

    def _maps(self, image: Tensor, render: Tensor) -> Tensor:
        """The map of the loss term, and ones, which give the sums of blending weights."""
        edges = scores.min_max_normalized(scores.find_edges_map(image))
        errors = scores.min_max_normalized((render - image).square().mean(dim=-1))
        loss = self.edge_weight * edges + self.mse_weight * errors
        return torch.stack([loss, torch.ones_like(loss)], dim=-1)

    @property
    def _weights(self) -> dict[str, float]:
        names = (
            *("loss", "blend", "count", "distance", "gradient"),
            *("opacity", "depth", "radius", "scale"),
        )
        return {name: getattr(self, f"{name}_weight") for name in names}


def parabola(x: int, last: int, start: int, budget: int) -> int:
    """N(x), from `start` at 0 to `budget` at refinement `last`, where it is flat."""
    slope = 2 * (budget - start) / max(last, 1)
    curvature = (budget - start - slope * last) / max(last, 1) ** 2
    return round(curvature * x**2 + slope * x + start)


def view_terms(info: dict[str, Any], attributed: Tensor) -> dict[str, Tensor]:
    """The terms [N] that one probed view gives; `attributed` [N,2] has the sums loss and blend."""
    area, distance = scores.footprints(info)
    return {
        "loss": attributed[:, 0],
        "blend": attributed[:, 1],
        "count": area[0],
        "distance": (area * distance)[0],
        "depth": info["depths"][0],
        "radius": info["radii"][0].amax(dim=-1).float(),
    }


def weighted_sum(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Sum [N] of weights times median-normalised terms, of what the view draws (blend > 0)."""
    is_drawn = terms["blend"] > 0
    total = torch.zeros_like(terms["blend"])
    for name, term in terms.items():
        drawn = torch.where(is_drawn, term, torch.zeros_like(term))
        total += weights[name] * scores.median_normalized(drawn)
    return total


def chosen_to_grow(
    is_candidate: Tensor, is_small: Tensor, importance: Tensor, births: int
) -> tuple[Tensor, Tensor]:
    """Masks [N] of what to clone and to split: `births` in all, or all candidates with a score."""
    is_candidate = is_candidate & (importance > 0)
    kinds = (is_candidate & is_small, is_candidate & ~is_small)
    clones, splits = (int(kind.sum()) for kind in kinds)
    num_clones = share_of_clones(births, clones, splits)
    numbers = (num_clones, births - num_clones)
    drawn = (
        ops.sample_without_replacement(torch.where(kind, importance, 0.0), number)
        for kind, number in zip(kinds, numbers, strict=True)
    )
    is_clone, is_split = (scores.masked(rows, len(importance)) for rows in drawn)
    return is_clone, is_split


def share_of_clones(births: int, clones: int, splits: int) -> int:
    """How many of `births` go to the clones, in proportion to the candidates of both kinds."""
    return round(births * clones / max(clones + splits, 1))


def chosen_to_prune(is_weak: Tensor, importance: Tensor, share: float) -> Tensor:
    """Mask [N] of a share of the weak, drawn in proportion to 1 / (1e-6 + importance)."""
    weights = torch.where(is_weak, 1 / (1e-6 + importance), 0.0)
    number = int(share * int(is_weak.sum()))
    return scores.masked(ops.sample_without_replacement(weights, number), len(is_weak))
