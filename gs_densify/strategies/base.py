"""What the trainer asks of a densification strategy: gsplat 1.5.3's hooks and a few options.

A strategy is a dataclass whose fields are its options. Any class with these hooks works; deriving
from `Strategy` only saves writing the ones that a method does not need.

`info` is what the rasteriser returned for the step (`means2d` with `.grad` and, when asked for,
`.absgrad`; `radii [C,N,2]`, 0 where culled; `width`, `height`, `n_cameras`, ...). The trainer adds

    means_lr          the means' current learning rate
    image, render     the photos and what was rendered, [C,H,W,3]
    reduction         by how much the photos are reduced in this step (coarse to fine); 1: full size
    views             indices of the training views of this step
    num_train_views   how many there are
    probe             renders any of them again: probe(index, maps=..., channels=...)
    attributed        [N,M], after backward, at steps for which `num_attributed_maps` is M > 0

Test views are out of reach.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from gs_densify.errors import StrategyError
from gs_densify.strategies.ops import Optimizers, Params, State

REQUIRED = ("means", "scales", "quats", "opacities")


class Strategy:
    """The hooks, each doing nothing, and the optional members with their defaults."""

    absgrad: bool = False
    """Whether the rasteriser must provide `means2d.absgrad` (see `needs_absgrad`)."""

    per_gaussian: ClassVar[tuple[str, ...] | None] = None
    """Names of the statistics in `state` that have a row for each Gaussian, which operations move.
    None: those that `statistics.zeros_like_rows` makes, and tensors that have N rows when they are
    first seen."""

    recipe: ClassVar[Mapping[str, Any]] = {}
    """The method's own trainer settings, by dotted option name: they replace the defaults."""

    # A method may also have `scaled(factor)`, which gives the same method on a schedule that is
    # `factor` times as long; without it gsplat's step options are scaled (see `schedule`).

    def needs_absgrad(self, step: int) -> bool:
        """Whether this step needs absolute gradients, which cost a tenth of it: while refining."""
        return self.absgrad and step < getattr(self, "refine_stop_iter", step + 1)

    def num_attributed_maps(self, step: int) -> int:
        """How many per-pixel maps to attribute to Gaussians at this step (see below)."""
        return 0

    def attributed_maps(self, step: int, info: dict[str, Any]) -> Tensor:
        """Maps m [C,H,W,M], of which `info["attributed"]` [N,M] becomes sum_p m(p) w_k(p).

        w_k(p) is the weight (opacity times transmittance) with which Gaussian k enters pixel p
        (Rota Bulo et al., arXiv 2404.06109, Eq. 7). The image loss is not touched.
        """
        raise NotImplementedError

    def regularization(self, params: Params, step: int) -> Tensor | None:
        """The method's own term of the loss, or None."""
        return None

    def update_every(self, step: int) -> int:
        """Returns the number of steps whose gradients are summed before the optimisers step.

        The last group of a run has what is left. Operations of `ops` move summed gradients with the
        rows.
        """
        return 1

    def steps_together(self, step: int) -> int:
        """Returns how many of the steps from this one on may be rendered in one call.

        That is faster, and the sum of their gradients is the same. Only steps between two updates
        of the optimisers join, of one SH degree and one size of photo, and none to which maps are
        attributed. The hooks are called once for them, with the first step and all of their views;
        image-plane gradients in `info` are those that each view would have in a step of its own.
        """
        return 1

    def lr_step(self, step: int) -> int:
        """The step at which the means' learning-rate schedule is read."""
        return step

    def sh_degree(self, step: int, scheduled: int) -> int:
        """The SH degree to train with, where the trainer's schedule says `scheduled`."""
        return scheduled

    def initialize_state(self, scene_scale: float = 1.0) -> dict[str, Any]:
        """The running statistics; `scene_scale` is the scene's radius in world units."""
        return {"scene_scale": scene_scale}

    def check_sanity(self, params: Params, optimizers: Optimizers) -> None:
        """Refuse parameters and optimisers that do not fit together."""
        trainable = {name for name, value in params.items() if value.requires_grad}
        if trainable != set(optimizers):
            raise StrategyError(
                f"trainable parameters are {sorted(trainable)} but optimisers are"
                f" {sorted(optimizers)}; one optimiser a parameter is needed"
            )
        for name, optimizer in optimizers.items():
            if len(optimizer.param_groups) != 1:
                raise StrategyError(
                    f"the optimiser of {name} has {len(optimizer.param_groups)} groups; one is"
                    " needed"
                )
        missing = [name for name in REQUIRED if name not in params]
        if missing:
            raise StrategyError(f"parameters {missing} are missing; {list(REQUIRED)} are needed")

    def step_pre_backward(
        self, params: Params, optimizers: Optimizers, state: State, step: int, info: dict[str, Any]
    ) -> None:
        """Called after rendering, before `loss.backward()`."""

    def step_post_backward(
        self,
        params: Params,
        optimizers: Optimizers,
        state: State,
        step: int,
        info: dict[str, Any],
        packed: bool = False,
    ) -> None:
        """Called after the optimisers' step."""
