"""Clone small and split large Gaussians whose mean image-plane gradient is high: original 3DGS.

Kerbl et al., "3D Gaussian Splatting for Real-Time Radiance Field Rendering", arXiv 2308.04079,
section 5. Every `refine_every` steps, with g the mean over the views that saw a Gaussian of the
norm of its image-plane gradient:

    clone  where g > grow_grad2d and max(s) <= grow_scale3d * scene_scale
    split  where g > grow_grad2d and max(s) >  grow_scale3d * scene_scale
    prune  where opacity < prune_opa or,
           after the first reset, max(s) > prune_scale3d * scene_scale

and every `reset_every` steps all opacities are lowered to at most 2 * prune_opa.

Limits: the number of Gaussians follows from the scene and cannot be chosen; a high-frequency
texture covered by one large Gaussian has cancelling gradients and may never split (AbsGS).

Differs from the paper / published code:
- Options, defaults and steps are those of gsplat 1.5.3's `DefaultStrategy`: steps are zero-based,
  refinements are at start < t < stop and follow the optimisers' step, which the published code
  skips at a refinement, and a gradient must exceed the threshold, which there it may equal.
- Unlike gsplat 1.5.3, whose guard `step % reset_every == 0 & step > 0` is never true, opacities
  really are reset, as in the published code.
- The paper moves a clone along its gradient; the published code, gsplat and this leave it in its
  parent's place, with the parent's opacity.
- Rules by radius on screen are off, as in gsplat. The published code asks to prune above 20 pixels,
  but zeroes the radii just before (its issue 123), so that it never happens.
"""

from dataclasses import dataclass

import torch

from gs_densify.model.gaussians import Gaussians
from gs_densify.strategies import ops, statistics
from gs_densify.strategies.base import StepInfo, Strategy
from gs_densify.strategies.limits import require
from gs_densify.strategies.ops import Optimizers, Params, State


@dataclass
class DefaultStrategy(Strategy):
    """The original 3DGS clone / split / prune / reset."""

    prune_opa: float = 0.005
    """Opacity below which a Gaussian is pruned."""
    grow_grad2d: float = 0.0002
    """Mean image-plane gradient (half-image units) above which a Gaussian grows; with absgrad,
    0.0006 to 0.0008 is usual."""
    grow_scale3d: float = 0.01
    """Largest scale, as a share of the scene's radius, up to which growing means cloning."""
    grow_scale2d: float = 0.05
    """Screen radius, as a share of the image, above which a Gaussian splits."""
    prune_scale3d: float = 0.1
    """Largest scale, as a share of the scene's radius, above which a Gaussian is pruned."""
    prune_scale2d: float = 0.15
    """Screen radius, as a share of the image, above which a Gaussian is pruned."""
    refine_scale2d_stop_iter: int = 0
    """Step until which the two screen-radius rules hold (0: never)."""
    refine_start_iter: int = 500
    """Step after which Gaussians are refined."""
    refine_stop_iter: int = 15_000
    """Step from which nothing is refined or reset any more."""
    reset_every: int = 3000
    """Steps between opacity resets."""
    refine_every: int = 100
    """Steps between refinements."""
    pause_refine_after_reset: int = 0
    """Steps after a reset in which nothing is refined."""
    absgrad: bool = False
    """Use absolute image-plane gradients (AbsGS)."""
    revised_opacity: bool = False
    """Lower the opacity of split children so that two cover as one did (arXiv 2404.06109)."""

    def __post_init__(self) -> None:
        counts = ("refine_every", "reset_every")
        require(self, counts, lambda value: value >= 1, "at least 1 step is needed")

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
        self._observe(gaussians, info, packed)
        is_refine_step = step > self.refine_start_iter and step % self.refine_every == 0
        if is_refine_step and step % self.reset_every >= self.pause_refine_after_reset:
            self._grow(gaussians, step)
            self._prune(gaussians, step)
            for name in self._statistics:
                state[name].zero_()
        if step > 0 and step % self.reset_every == 0:
            ops.reset_opa(*gaussians, value=2.0 * self.prune_opa)

    @property
    def _statistics(self) -> tuple[str, ...]:
        uses_radii = self.refine_scale2d_stop_iter > 0
        return ("grad2d", "count", "radii") if uses_radii else ("grad2d", "count")

    def _observe(self, gaussians: Gaussians, info: StepInfo, packed: bool) -> None:
        state, num = gaussians.state, gaussians.num
        statistics.zeros_like_rows(state, self._statistics, gaussians.params["means"])
        statistics.accumulate_gradients(state, num, info, absolute=self.absgrad, packed=packed)
        if "radii" in self._statistics:
            radii = statistics.screen_radii(info) * statistics.visible(info)
            latest = statistics.max_over_views(radii, info, num, packed=packed)
            torch.maximum(state["radii"], latest, out=state["radii"])

    def _grow(self, gaussians: Gaussians, step: int) -> None:
        state = gaussians.state
        gradient = state["grad2d"] / state["count"].clamp_min(1)
        is_high = gradient > self.grow_grad2d
        is_small = gaussians.largest_scales <= self.grow_scale3d * state["scene_scale"]
        is_clone = is_high & is_small
        is_split = is_high & ~is_small
        if step < self.refine_scale2d_stop_iter:
            is_split |= state["radii"] > self.grow_scale2d
        ops.clone_and_split(*gaussians, is_clone, is_split, revised_opacity=self.revised_opacity)

    def _prune(self, gaussians: Gaussians, step: int) -> None:
        state = gaussians.state
        is_weak = gaussians.opacities < self.prune_opa
        if step > self.reset_every:
            is_weak |= gaussians.largest_scales > self.prune_scale3d * state["scene_scale"]
            if step < self.refine_scale2d_stop_iter:
                is_weak |= state["radii"] > self.prune_scale2d
        ops.remove(*gaussians, is_weak)
