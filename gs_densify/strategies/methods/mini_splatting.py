"""Spread Gaussians evenly over the surfaces, then keep a sample of those that matter.

Fang and Wang, "Mini-Splatting: Representing Scenes with a Constrained Number of Gaussians",
arXiv 2403.14166. With w_i(p) the blending weight of Gaussian i at pixel p:

    blur split    S_i = #{p : i = argmax_k w_k(p)} > theta H W in a view since the last refinement;
                  such Gaussians split, besides those that 3DGS clones or splits
    depth reinit  every `depth_every` steps the model is replaced by points on the rays of training
                  pixels, drawn in proportion to accumulated alpha: where the density of the pixel's
                  argmax Gaussian is highest (the middle of the ray's chord of that ellipsoid)
    importance    I_i = sum over views and pixels of w_i(p), 0 unless i is somewhere the argmax
    sampling      at `sample_iter` half as many as have I > 0 are drawn without replacement, with
                  probability I / sum I, and start anew: opacity 0.1, scales from 3 neighbours
    pruning       at `prune_iter` the fewest that hold 99 % of the sum of I stay

Opacities are never reset, colours have degree 0 until the sampling, and there the learning-rate
schedule goes back to `lr_restart_step`.

Limits: each of four passes over the training views costs a render of each, and three neighbour
searches, over up to millions of points, run on the CPU. The number of points, the blur's share of
the image and the size of the sample are tuned for 100 to 300 photos of about a megapixel.

Differs from the paper / published code:
- Steps are zero-based, refinements are at start < t < stop and follow the optimisers' step, as in
  gsplat; the published code skips that step at a refinement.
- A view's alpha is at most 0.999, as gsplat's; there 0.99.
- At the cap it still prunes and grows into the room that is left, most urgent first; there the
  whole refinement is skipped, and statistics go on.
- Points behind the camera are dropped after the draw; there such Gaussians are passed over when the
  pixel's argmax is sought.
- All views give equally many points, and together at most `max_gaussians`; there a view gives more
  where it has more pixels.
- New scales are at least 1e-6 of the scene's radius; there 3.2e-4 in the scene's units.
- The pruning keeps the Gaussian with which 99 % are reached; there it goes, and 1e-6 is added to
  each importance before these are summed.
- After a replacement of the model the round of views goes on; there a new one begins.
- `budget` is our extension: the pruning keeps that many, the most important ones, of a sample of
  5/3 as many. For these, refinements also let the most urgent below the thresholds grow, towards
  4 times the budget (at most `max_gaussians`), and as many points come from depth; where fewer have
  an importance above 0 than the budget, others fill up the sample.
- Pruning by radius on screen is left out: the published code resets the radii before it reads them.

The `outdoor` importance is the published code's option: a view's weight divided by the pixels it
falls on, over the views in which i is an argmax.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from gs_densify.errors import ConfigError, StrategyError
from gs_densify.model.gaussians import Gaussians
from gs_densify.model.init import neighbour_distances
from gs_densify.model.sh import rgb_to_sh0
from gs_densify.rendering.attribution.contributors import largest_areas, top_contributors
from gs_densify.rendering.attribution.rays import pixel_rays, ray_peaks
from gs_densify.strategies import ops, schedule, statistics
from gs_densify.strategies.base import Probe, ProbedView, StepInfo, Strategy
from gs_densify.strategies.importance import (
    METRICS,
    highest,
    importance,
    most_important,
    sample_size,
)
from gs_densify.strategies.limits import require
from gs_densify.strategies.ops import Optimizers, Params, State

_STATISTICS = ("grad2d", "count", "area")
_SAMPLED = 5 / 3
"""Budgets that the sample holds: 58 % of one held 99 % of the importance (bonsai)."""
_CROWD = 4
"""Budgets wanted before it: 44 % of the Gaussians had an importance above 0 (bonsai)."""
_STEPS = (
    "prune_scale3d_start_iter",
    "refine_start_iter",
    "refine_stop_iter",
    "sample_iter",
    "lr_restart_step",
    "sh_degree_every",
)


@dataclass
class MiniSplattingStrategy(Strategy):
    """Mini-Splatting: blur split, depth reinitialisation, importance sampling and pruning."""

    may_exceed_budget: ClassVar[bool] = True

    budget: int = 0
    """Gaussians that the pruning keeps, the most important ones; 0: by importance_kept."""
    max_gaussians: int = 4_500_000
    """Most Gaussians while densifying; about half of them stay after the sampling."""
    prune_opa: float = 0.005
    """Opacity below which a Gaussian is pruned."""
    grow_grad2d: float = 0.0002
    """Mean image-plane gradient (half-image units) from which a Gaussian grows."""
    grow_scale3d: float = 0.01
    """Largest scale, as a share of the scene's radius, up to which growing means cloning."""
    prune_scale3d: float = 0.1
    """Largest scale, as a share of the scene's radius, above which a Gaussian is pruned."""
    prune_scale3d_start_iter: int = 3000
    """Step after which large Gaussians are pruned."""
    blur_area: float = 1 / 5000
    """Share of a view's pixels above which a Gaussian that dominates them splits."""
    refine_start_iter: int = 500
    """Step after which Gaussians are refined."""
    refine_stop_iter: int = 15_000
    """Step from which nothing grows any more."""
    refine_every: int = 100
    """Steps between refinements."""
    depth_every: int = 5000
    """Steps between replacements of the model by points from depth, before refine_stop_iter."""
    num_depth_points: int = 3_500_000
    """Points of such a replacement (at most one a pixel, and at most max_gaussians)."""
    new_opacity: float = 0.1
    """Opacity of Gaussians that start anew, in (0, 1)."""
    sample_iter: int = 15_000
    """Step at which the model is reduced to a sample, which starts anew."""
    sample_share: float = 0.5
    """Size of the sample, as a share of the Gaussians with an importance above 0."""
    prune_iter: int = 20_000
    """Step at which unimportant Gaussians are pruned."""
    importance_kept: float = 0.99
    """Share of the sum of importances that this pruning keeps."""
    importance_metric: Literal["indoor", "outdoor"] = "indoor"
    """What weighs: indoor, the blending weight; outdoor, the blending weight a covered pixel."""
    lr_restart_step: int = 5000
    """Step of the learning-rate schedule to which it goes back at sample_iter."""
    sh_degree_every: int = 1000
    """Steps after sample_iter in which the SH degree rises by one."""

    def __post_init__(self) -> None:
        counts = ("refine_every", "depth_every", "sh_degree_every", "max_gaussians")
        require(self, counts, lambda value: value >= 1, "it must be at least 1")
        require(self, ("budget",), lambda value: value >= 0, "it must be at least 0 (none)")
        shares = ("blur_area", "new_opacity", "sample_share", "importance_kept")
        require(self, shares, lambda value: 0.0 < value <= 1.0, "it must be in (0, 1]")
        if self.importance_metric not in METRICS:
            raise ConfigError(
                f"importance_metric is '{self.importance_metric}'",
                action=f"use {' or '.join(METRICS)}",
            )
        if not self.refine_stop_iter <= self.sample_iter < self.prune_iter:
            raise ConfigError(
                f"refine_stop_iter, sample_iter, prune_iter are {self.refine_stop_iter},"
                f" {self.sample_iter}, {self.prune_iter}",
                expected="they must not fall, and prune_iter must come last",
            )

    def scaled(self, factor: float) -> "MiniSplattingStrategy":
        """Returns the same method on a schedule `factor` times as long."""
        steps = {name: round(getattr(self, name) * factor) for name in _STEPS}
        steps["sh_degree_every"] = max(1, steps["sh_degree_every"])
        steps["prune_iter"] = max(steps["sample_iter"] + 1, round(self.prune_iter * factor))
        # Rounded up, so that no reinitialisation comes just before the sampling.
        steps["depth_every"] = max(1, math.ceil(self.depth_every * factor - 1e-9))
        least = min(schedule.MIN_WINDOW, self.refine_every)
        every = max(least, round(self.refine_every * factor))
        return dataclasses.replace(self, refine_every=every, **steps)

    def lr_step(self, step: int) -> int:
        """Returns the step of the learning-rate schedule, which goes back at the sampling."""
        if step <= self.sample_iter:
            return step
        return min(step, step - self.sample_iter + self.lr_restart_step)

    def sh_degree(self, step: int, scheduled: int) -> int:
        """Returns 0 until the sampling, then one more every `sh_degree_every` steps."""
        return min(scheduled, max(0, step - self.sample_iter) // self.sh_degree_every)

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
        """Gathers statistics; refines, reinitialises, samples and prunes at their steps."""
        gaussians = Gaussians(params, optimizers, state)
        if step < self.refine_stop_iter:
            self._observe(gaussians, info, packed)
            if step > 0 and step % self.depth_every == 0:
                self._reinitialise(gaussians, info)
            elif step > self.refine_start_iter and step % self.refine_every == 0:
                self._refine(gaussians, step)
        if step == self.sample_iter:
            self._sample(gaussians, info)
        elif step == self.prune_iter:
            self._keep_important(gaussians, info)

    def _observe(self, gaussians: Gaussians, info: StepInfo, packed: bool) -> None:
        state, num = gaussians.state, gaussians.num
        statistics.zeros_like_rows(state, _STATISTICS, gaussians.params["means"])
        statistics.accumulate_gradients(state, num, info, absolute=False, packed=packed)
        ids, _ = top_contributors(info)
        area = largest_areas(ids, num).amax(dim=0) / (info["width"] * info["height"])
        torch.maximum(state["area"], area, out=state["area"])

    def _refine(self, gaussians: Gaussians, step: int) -> None:
        state = gaussians.state
        gradient = state["grad2d"] / state["count"].clamp_min(1)
        is_high = gradient >= self.grow_grad2d
        is_small = gaussians.largest_scales <= self.grow_scale3d * state["scene_scale"]
        is_blurry = state["area"] > self.blur_area
        is_clone, is_split = is_high & is_small, (is_high & ~is_small) | is_blurry
        urgency = torch.maximum(gradient / self.grow_grad2d, state["area"] / self.blur_area)
        if self.budget:
            lacking = self._lacking(gaussians, step) - int(is_clone.sum()) - int(is_split.sum())
            is_free = ~(is_high | is_blurry | (gaussians.opacities < self.prune_opa))
            is_further = highest(torch.where(is_free, urgency, -1.0), max(0, lacking)) & is_free
            is_clone |= is_further & is_small
            is_split |= is_further & ~is_small
        is_clone, is_split = within_room(
            is_clone, is_split, urgency=urgency, room=self.max_gaussians - gaussians.num
        )
        ops.clone_and_split(*gaussians, is_clone, is_split)
        is_weak = gaussians.opacities < self.prune_opa
        if step > self.prune_scale3d_start_iter:
            is_weak |= gaussians.largest_scales > self.prune_scale3d * state["scene_scale"]
        ops.remove(*gaussians, is_weak)
        for name in _STATISTICS:
            state[name].zero_()

    def _lacking(self, gaussians: Gaussians, step: int) -> int:
        """Returns by how many to grow for a sample of which the budget can be kept."""
        start = gaussians.state.setdefault("num_at_start", gaussians.num)
        kept = gaussians.num - int((gaussians.opacities < self.prune_opa).sum())
        return schedule.number_to_add(
            kept,
            min(_CROWD * self.budget, self.max_gaussians),
            step=step,
            steps=schedule.refinement_steps(self),
            begin=self.refine_start_iter,
            start=start,
        )

    def _reinitialise(self, gaussians: Gaussians, info: StepInfo) -> None:
        probe = _probe_of(info)
        wanted = max(self.num_depth_points, _CROWD * self.budget)
        num = max(1, min(wanted, self.max_gaussians) // len(probe))
        found = [depth_points(probe(view), gaussians.params, num) for view in range(len(probe))]
        means, colors = (torch.cat(parts) for parts in zip(*found, strict=True))
        if len(means) == 0:
            raise StrategyError(
                "depth reinitialisation found no Gaussian in any training view",
                expected="at least one pixel must show one",
                action="lower the learning rates, or raise depth_every",
            )
        self._start_anew(gaussians, means, rgb_to_sh0(colors)[:, None])

    def _sample(self, gaussians: Gaussians, info: StepInfo) -> None:
        score = importance(_probe_of(info), gaussians.num, self.importance_metric)
        num = sample_size(score, self.sample_share)
        if self.budget:
            num = min(math.ceil(_SAMPLED * self.budget), max(self.budget, int((score > 0).sum())))
            score = score.clamp_min(torch.finfo(score.dtype).tiny)  # where those are too few
        chosen = ops.sample_without_replacement(score, num).sort().values
        means, sh0 = (gaussians.params[name][chosen] for name in ("means", "sh0"))
        self._start_anew(gaussians, means, sh0)

    def _keep_important(self, gaussians: Gaussians, info: StepInfo) -> None:
        score = importance(_probe_of(info), gaussians.num, self.importance_metric)
        if self.budget:
            kept = highest(score, self.budget)
        else:
            kept = most_important(score, self.importance_kept)
        # Rebuilt, since the published code starts a new optimiser here too.
        gaussians.rebuild({name: p[kept] for name, p in gaussians.params.items()})

    def _start_anew(self, gaussians: Gaussians, means: Tensor, sh0: Tensor) -> None:
        values = fresh_splats(
            means,
            sh0,
            opacity=self.new_opacity,
            num_sh_rest=gaussians.params["shN"].shape[1],
            least_scale=1e-6 * gaussians.state["scene_scale"],
        )
        gaussians.rebuild(values)


def within_room(
    is_clone: Tensor, is_split: Tensor, *, urgency: Tensor, room: int
) -> tuple[Tensor, Tensor]:
    """Returns the `room` most urgent additions of those asked for, one Gaussian each."""
    wanted = torch.cat([is_clone, is_split])
    if int(wanted.sum()) <= room:
        return is_clone, is_split
    keys = torch.where(wanted, urgency.repeat(2), -math.inf)
    granted = torch.zeros_like(wanted)
    granted[keys.topk(max(0, room)).indices] = True
    return granted[: len(is_clone)], granted[len(is_clone) :]


def depth_points(view: ProbedView, params: Params, count: int) -> tuple[Tensor, Tensor]:
    """Returns at most `count` points [P, 3] that a probed view shows, and their colours [P, 3].

    The colours are the photo's. Pixels are drawn without replacement, in proportion to the view's
    accumulated alpha.
    """
    ids = top_contributors(view.info)[0].flatten()
    alpha = view.alpha.flatten() * (ids >= 0)
    chosen = ops.sample_without_replacement(alpha, count)
    rows = ids[chosen]
    origin, directions = pixel_rays(view.viewmat, view.K, chosen, view.image.shape[2])
    depths = ray_peaks(
        origin,
        directions,
        params["means"][rows],
        params["quats"][rows],
        params["scales"][rows].exp(),
    )
    is_ahead = depths > 0
    points = origin + depths[:, None] * directions
    return points[is_ahead], view.image.reshape(-1, 3)[chosen[is_ahead]]


def fresh_splats(
    means: Tensor, sh0: Tensor, *, opacity: float, num_sh_rest: int, least_scale: float
) -> Mapping[str, Tensor]:
    """Returns isotropic Gaussians at `means` [P, 3], as wide as their 3 neighbours are far."""
    distances = neighbour_distances(means.cpu().numpy(), floor=least_scale)
    scales = torch.from_numpy(distances).to(means).log()
    quats = means.new_zeros(len(means), 4)
    quats[:, 0] = 1.0
    return {
        "means": means,
        "scales": scales[:, None].expand(-1, 3).contiguous(),
        "quats": quats,
        "opacities": ops.inverse_sigmoid(means.new_full((len(means),), opacity)),
        "sh0": sh0,
        "shN": means.new_zeros(len(means), num_sh_rest, 3),
    }


def _probe_of(info: StepInfo) -> Probe:
    if "probe" not in info:
        raise StrategyError(
            "mini-splatting needs info['probe'] to render the training views again; this trainer"
            " gives none",
            action="use gs-train",
        )
    return info["probe"]
