"""Grow the Gaussians under the pixels that are still wrong, by percentiles and to a budget: ours.

No paper: parts of published methods, each an option that can be switched off. Per Gaussian k and
since the last refinement, with g_v the norm of its absolute image-plane gradient in view v, for
every few of the training steps' views (`observations` between two refinements):

    G = (1 - max_blend) mean_v g_v + max_blend max_v g_v
    E = the same blend of E_v = sum_p m(p) w_k(p), the error map m attributed by blending weight
        (arXiv 2404.06109, Eq. 7), where m is 0.8 L1 + 0.2 (1 - SSIM) over its mean in the photo,
        times 1 + edge_weight * Sobel over its mean
    c = share of its views in which its error (gradient-only: its gradient) is above that view's
        average (upper quarter)

    candidates   seen in `min_views` views or more, and G above the `clone_percentile` of the small
                 or the `split_percentile` of the large: these too need only a moderate gradient
    chosen       N_target(t) - N of them, without replacement, in proportion to
                 (rank(G)^(1/2) rank(E) (1 - consistency + consistency c) opacity^(1/2))^focus
    born         large: two on the long axis that hardly overlap while `separate` lasts, later two
                 that keep mass, mean and covariance; small: a clone, both of revised opacity
    N_target(t)  N_0 + (max_gaussians - N_0) sqrt((t - start) / (stop - start)), growing at most
                 `growth_limit` a refinement; fewer while photos are reduced

Every `reset_every` steps opacities are softly reset: those whose score is not among the best
`protect` share are multiplied by `decay`; `recovery` steps later the least opaque are pruned.

Limits: a step that is observed renders two more channels and takes absolute gradients. With
`--strategy.no-use-error` the method needs no images and works in any trainer with gsplat's hooks,
a little less well. Without a budget (`--strategy.max-gaussians 0`) growth follows from
`auto_gradient`, which, like every absolute threshold, depends on the resolution.

`--budget` sets `budget`, with which the last refinement ends at that number exactly: without, the
curve ends with the window, after that refinement, at 0.997 of it.

Built on: AbsGS (2404.10484) for absolute gradients; Improved-GS (2508.12313) for the root curve,
the separating split, pruning after a reset, learning rates (twice as high here, but for opacities)
and multi-step updates; Taming-3DGS (2406.15643) for sampling to a budget; Revising Densification
(2404.06109) for attribution and clone opacity; FastGS for agreement between views; LiteGS for
decay in place of a reset.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from gs_densify.errors import ConfigError, StrategyError
from gs_densify.model.gaussians import Gaussians
from gs_densify.strategies import growth, ops, schedule, scores, splits, statistics
from gs_densify.strategies.base import StepInfo, Strategy
from gs_densify.strategies.limits import require
from gs_densify.strategies.ops import Optimizers, Params, State
from gs_densify.strategies.schedule import target_count

MIN_REFINEMENTS = 120
"""That a shorter schedule keeps, unless they would come closer than `scaled_steps` lets them."""

_GRADIENT = ("grad_sum", "grad_max", "seen", "agreed")
_ERROR = ("error_sum", "error_max", "error_seen")


@dataclass
class AdaptiveStrategy(Strategy):
    """Percentile candidates, attributed error, agreement of views, a budget, and a soft reset."""

    max_gaussians: int = 1_000_000
    """Budget that is reached at the end of growth; 0 finds one by itself from auto_gradient."""
    budget: int = 0
    """The same number, reached exactly: the curve ends at the last refinement, and where there are
    too few candidates, the highest gradients grow too; 0: the curve ends with the window."""
    auto_gradient: float = 8e-4
    """Without a budget: blended gradient (half-image units) above which a Gaussian grows."""
    refine_start_iter: int = 500
    """Step after which Gaussians are refined."""
    refine_stop_iter: int = 15_000
    """Step from which nothing is refined or reset any more."""
    refine_every: int = 100
    """Steps between refinements."""
    observations: int = 18
    """Steps between two refinements, evenly spaced, whose gradients and errors are gathered; steps
    in between cost nothing extra."""
    growth_limit: float = 0.3
    """Most Gaussians that one refinement adds, as a share of those before."""
    max_blend: float = 0.3
    """Weight of the largest of a Gaussian's gradients (and errors) against their mean; 0: off."""
    clone_percentile: float = 0.5
    """Share of the small Gaussians whose gradient is too low for a clone; 0: off."""
    split_percentile: float = 0.3
    """Share of the large Gaussians whose gradient is too low for a split; 0: off."""
    large_scale3d: float = 0.0
    """Largest scale, as a share of the scene's radius, above which a Gaussian is large; 0: all are,
    and none is cloned."""
    min_views: int = 2
    """Views that must have seen a candidate since the last refinement."""
    use_error: bool = True
    """Rank by attributed error; off: by gradients alone, for trainers that offer no images."""
    edge_weight: float = 0.5
    """How much edges of the photo raise the error; 0: off."""
    consistency: float = 0.75
    """Weight of the agreement between views; 0: off."""
    focus: float = 3.0
    """How much new Gaussians crowd where the score is highest: its exponent; 0: drawn evenly."""
    separate: float = 1.0
    """Share of the growth in which large Gaussians split into separate ones; 0: never."""
    soft_reset: bool = True
    """Decay weak opacities and protect promising Gaussians; off: opacities are never reset."""
    reset_every: int = 3000
    """Steps between soft resets."""
    decay: float = 0.5
    """What a soft reset multiplies the opacity of unprotected Gaussians with."""
    protect: float = 0.3
    """Share of the Gaussians, the best by score, that a soft reset leaves alone."""
    recovery: int = 300
    """Steps after a soft reset at which the least opaque are pruned; 0: off."""
    recovery_prune: float = 0.1
    """Share of the Gaussians that is pruned then."""
    prune_opa: float = 0.005
    """Opacity below which a Gaussian is pruned."""
    prune_scale3d: float = 0.0
    """Largest scale, as a share of the scene's radius, above which a Gaussian is pruned; 0: none is
    for its size. Where cameras stand close together, their radius says nothing of the subject's
    size, and large Gaussians are walls and sky."""
    late_sum: int = 5
    """Steps whose gradients are summed before an update once growth has ended, and 4 times as many
    from 1.5 times that step on; 0: none are. Scales with the schedule."""

    absgrad: ClassVar[bool] = True  # type: ignore[misc]
    shardable: ClassVar[bool] = True
    totals: ClassVar[tuple[str, ...]] = ("num_at_start",)
    recipe: ClassVar[Mapping[str, Any]] = {
        "lr.means": 8e-5,
        "lr.means_final": 0.05,
        "lr.scales": 0.01,
        "lr.quats": 2e-3,
        "lr.opacities": 0.025,
        "lr.sh0": 5e-3,
        "lr.shN": 5e-4,
        "init.opacity": 0.5,
        "init.scale": 0.3,
        "lr.others_final": "auto",
        "render.dropout": "auto",
    }

    def __post_init__(self) -> None:
        shares = ("max_blend", "clone_percentile", "split_percentile", "consistency", "separate")
        shares_of_reset = ("decay", "protect", "recovery_prune")
        between = "it must be between 0 and 1"
        require(self, (*shares, *shares_of_reset), lambda value: 0.0 <= value <= 1.0, between)
        counts = ("refine_every", "reset_every", "observations")
        require(self, counts, lambda value: value >= 1, "it must be at least 1")
        cloning = type(self).clone_percentile
        if self.large_scale3d == 0 and self.clone_percentile != cloning:
            raise ConfigError(
                f"clone_percentile {self.clone_percentile} has no effect while large_scale3d is 0,"
                " at which none is cloned",
                action="set large_scale3d, for example to 0.005",
            )
        require(self, ("late_sum",), lambda value: value >= 0, "it must be at least 0 (off)")
        sizes = ("focus", "prune_scale3d")
        require(self, sizes, lambda value: value >= 0, "it must be at least 0")
        require(self, ("max_gaussians",), lambda value: value >= 0, "0 (find one) or more")
        require(self, ("budget",), lambda value: value >= 0, "it must be at least 0 (none)")
        if self.edge_weight > 0 and not self.use_error:
            self.edge_weight = 0.0  # edges enter through the error map alone

    def scaled(self, factor: float) -> "AdaptiveStrategy":
        """Returns the same method in `factor` times as many steps.

        Refinements become fewer rather than closer, as long as growth has `MIN_REFINEMENTS`.
        """
        scaled = schedule.scaled_steps(self, factor)
        growth = scaled.refine_stop_iter - scaled.refine_start_iter
        every = max(scaled.refine_every, min(self.refine_every, growth // MIN_REFINEMENTS))
        recovery = self.recovery and max(1, round(self.recovery * factor))
        late_sum = self.late_sum and max(1, round(self.late_sum * factor))
        return replace(scaled, refine_every=every, recovery=recovery, late_sum=late_sum)

    def needs_absgrad(self, step: int) -> bool:
        """Returns whether this is one of the steps of growth that are observed."""
        every = self.refine_every
        is_observed = step % every * self.observations % every < self.observations
        return step < self.refine_stop_iter and is_observed

    def num_attributed_maps(self, step: int) -> int:
        """Returns two, for error and plain weight, at the steps that are observed."""
        return 2 if self.use_error and self.needs_absgrad(step) else 0

    def attributed_maps(self, step: int, info: StepInfo) -> Tensor:
        """Returns the weighted error map and ones, [C,H,W,2]."""
        error = error_weights(info["render"].detach(), info["image"], self.edge_weight)
        return torch.stack([error, torch.ones_like(error)], dim=-1)

    def update_every(self, step: int) -> int:
        """Returns 1 until growth ends, `late_sum` for half as long again, then 4 times that."""
        if not self.late_sum or step < self.refine_stop_iter:
            return 1
        return self.late_sum if step < 1.5 * self.refine_stop_iter else 4 * self.late_sum

    def steps_together(self, step: int) -> int:
        """Returns up to 5 of the steps whose gradients are summed anyway."""
        return min(5, self.update_every(step))

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
        """Gathers statistics; refines, resets and prunes at their steps."""
        if step >= self.refine_stop_iter:
            return
        gaussians = Gaussians(params, optimizers, state)
        if self.needs_absgrad(step):
            self._observe(gaussians, info, packed)
            if self.use_error:
                self._observe_error(state, info)
        if step > self.refine_start_iter and step % self.refine_every == 0:
            self._refine(gaussians, step, info.get("reduction", 1))
        if self.soft_reset and step > 0:
            self._reset(gaussians, step)

    @property
    def _statistics(self) -> tuple[str, ...]:
        return (*_GRADIENT, *_ERROR) if self.use_error else _GRADIENT

    def _observe(self, gaussians: Gaussians, info: StepInfo, packed: bool) -> None:
        state, num = gaussians.state, gaussians.num
        names = (*self._statistics, "quality")
        statistics.zeros_like_rows(state, names, gaussians.params["means"])
        statistics.accumulate_gradients(
            state,
            num,
            info,
            absolute=True,
            packed=packed,
            total="grad_sum",
            views="seen",
            largest="grad_max",
        )
        if not self.use_error:
            seen = statistics.visible(info)
            grads = statistics.pixel_gradients(info, absolute=True) * seen
            is_high = (grads > upper_quarter(grads, seen)) & seen
            state["agreed"] += statistics.sum_over_views(is_high.float(), info, num, packed=packed)

    def _observe_error(self, state: State, info: StepInfo) -> None:
        if "attributed" not in info:
            raise StrategyError(
                "adaptive needs attributed error maps, which this trainer does not give",
                action="set use_error=False for its gradient-only mode",
            )
        error, weight = info["attributed"].unbind(-1)
        is_seen = weight > 0
        state["error_sum"] += error
        torch.maximum(state["error_max"], error, out=state["error_max"])
        state["error_seen"] += is_seen
        state["agreed"] += (error > weight) & is_seen  # the map's mean is 1 in every photo

    def _refine(self, gaussians: Gaussians, step: int, reduction: int) -> None:
        state = gaussians.state
        if self.budget:
            ops.remove_surplus(*gaussians, self.budget)
        start = state.setdefault("num_at_start", gaussians.num)
        self._prune(gaussians)
        gradient = blended(state["grad_sum"], state["grad_max"], state["seen"], self.max_blend)
        quality = self._quality(gaussians, gradient)
        state["quality"] = quality
        is_large = gaussians.largest_scales > self.large_scale3d * state["scene_scale"]
        is_seen = state["seen"] >= self.min_views
        is_candidate = above_percentile(gradient, is_seen & ~is_large, self.clone_percentile)
        is_candidate |= above_percentile(gradient, is_seen & is_large, self.split_percentile)
        wanted = self._wanted(gradient, is_candidate, step, start, reduction)
        weights = quality**self.focus * is_candidate
        chosen = ops.sample_without_replacement(weights, wanted)
        is_parent = scores.masked(chosen, len(gradient))
        if self.budget:
            is_parent = growth.completed(is_parent, gradient, wanted)
        self._grow(gaussians, step, is_parent)
        for name in self._statistics:
            state[name].zero_()

    def _quality(self, gaussians: Gaussians, gradient: Tensor) -> Tensor:
        state = gaussians.state
        if not self.use_error:
            share = state["agreed"] / state["seen"].clamp_min(1)
            error = gradient
        else:
            seen = state["error_seen"].clamp_min(1)
            share = state["agreed"] / seen
            error = blended(state["error_sum"], state["error_max"], seen, self.max_blend)
        agreement = 1 - self.consistency + self.consistency * share
        opacities = gaussians.opacities.sqrt()
        return scores.rank(gradient).sqrt() * scores.rank(error) * agreement * opacities

    def _wanted(
        self, gradient: Tensor, is_candidate: Tensor, step: int, start: int, reduction: int
    ) -> int:
        """Returns how many Gaussians are to be added."""
        num = len(gradient)
        if self.budget:
            return schedule.number_to_add(
                num,
                self.budget,
                step=step,
                steps=schedule.refinement_steps(self),
                begin=self.refine_start_iter,
                start=start,
                limit=self.growth_limit,
                reduction=reduction,
            )
        if self.max_gaussians == 0:
            wanted = int((is_candidate & (gradient > self.auto_gradient)).sum())
        else:
            progress = (step - self.refine_start_iter) / (
                self.refine_stop_iter - self.refine_start_iter
            )
            wanted = target_count(start, self.max_gaussians, progress, reduction) - num
        return max(0, min(wanted, int(self.growth_limit * num)))

    def _grow(self, gaussians: Gaussians, step: int, is_parent: Tensor) -> None:
        size = self.large_scale3d * gaussians.state["scene_scale"]
        is_large = gaussians.largest_scales > size
        splits.revised_clone(*gaussians, is_parent & ~is_large)
        # Clones were appended: the mask must cover them before it is used again.
        is_split = is_parent & is_large
        is_split = torch.cat([is_split, is_split.new_zeros(gaussians.num - len(is_split))])
        growth = self.refine_stop_iter - self.refine_start_iter
        if step < self.refine_start_iter + self.separate * growth:
            splits.long_axis_split(
                *gaussians,
                is_split,
                offset=1.35,
                shrink_long=0.55,
                shrink_others=0.893,
                opacity_factor=0.6,
            )
        else:
            splits.moment_split(*gaussians, is_split, delta=0.5)

    def _prune(self, gaussians: Gaussians) -> None:
        is_weak = gaussians.opacities < self.prune_opa
        if self.prune_scale3d:
            largest = self.prune_scale3d * gaussians.state["scene_scale"]
            is_weak |= gaussians.largest_scales > largest
        ops.remove(*gaussians, is_weak)

    def _reset(self, gaussians: Gaussians, step: int) -> None:
        """Resets end at 60 % of the schedule, so that growth recovers from the last one."""
        last = step - step % self.reset_every
        if not 0 < last <= 0.6 * self.refine_stop_iter:
            return
        if step == last:
            is_weak = scores.rank(gaussians.state["quality"]) < 1 - self.protect
            decay_opacities(gaussians, is_weak, self.decay)
        elif self.recovery and step - last == self.recovery:
            params = gaussians.params
            surplus = round(self.recovery_prune * gaussians.num)
            least = scores.lowest(params["opacities"].flatten(), surplus, params["means"].detach())
            ops.remove(*gaussians, least)


def error_weights(render: Tensor, image: Tensor, edge_weight: float) -> Tensor:
    """Returns error maps [C,H,W] with mean 1 in each photo, raised at the photo's edges."""
    if edge_weight == 0:
        return _over_mean(scores.error_map(render, image))
    error, edges = scores.error_and_edges(render, image)
    return _over_mean(error) * (1 + edge_weight * _over_mean(edges))


def _over_mean(maps: Tensor) -> Tensor:
    """Returns maps [C,H,W] scaled to mean 1 in each photo; zeros stay."""
    return maps / maps.mean(dim=(1, 2), keepdim=True).clamp_min(1e-12)


def blended(total: Tensor, largest: Tensor, seen: Tensor, max_blend: float) -> Tensor:
    """Returns (1 - b) mean + b max [N]."""
    return torch.lerp(total / seen.clamp_min(1), largest, max_blend)


def upper_quarter(values: Tensor, is_seen: Tensor) -> Tensor:
    """Returns per view the value [C,1] (packed: []) above which a quarter of the seen values lies.

    From every k-th of them, at most about ten thousand, so that no step sorts a million values.
    """
    flat = values if values.dim() == 2 else values[None]
    mask = is_seen if values.dim() == 2 else is_seen[None]
    stride = max(1, flat.shape[1] // 10_000)
    sample = torch.where(mask, flat, torch.nan)[:, ::stride]
    limit = sample.nanquantile(0.75, dim=1, keepdim=True).nan_to_num(torch.inf)
    return limit if values.dim() == 2 else limit.flatten()


def above_percentile(values: Tensor, is_member: Tensor, percentile: float) -> Tensor:
    """Returns which members [N] are above the percentile of the members' values; all where it
    is 0.
    """
    if percentile == 0 or not bool(is_member.any()):
        return is_member
    return is_member & (values > ops.quantile(values[is_member], percentile))


@torch.no_grad()
def decay_opacities(gaussians: Gaussians, is_weak: Tensor, decay: float) -> None:
    """Multiplies the opacities in the mask `is_weak` [N] by `decay`; their moments restart."""
    if is_weak.shape != (gaussians.num,):
        raise StrategyError(
            f"a mask of {len(is_weak)} entries was given for {gaussians.num} Gaussians"
        )
    logits = gaussians.params["opacities"]
    faded = ops.inverse_sigmoid(gaussians.opacities * decay).reshape(logits.shape)
    logits.copy_(torch.where(is_weak.reshape(logits.shape), faded, logits))
    gaussians.forget_moments(("opacities",), is_weak)
