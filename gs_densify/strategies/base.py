"""What the trainer asks of a densification strategy: gsplat 1.5.3's hooks and a few options.

A strategy is a dataclass whose fields are its options. Any class with these hooks works; deriving
from `Strategy` only saves writing the ones that a method does not need.

`info` is what the rasteriser returned for the step (`means2d` with `.grad` and, when asked for,
`.absgrad`; `radii [C,N,2]`, 0 where culled; `width`, `height`, `n_cameras`, ...). The trainer adds
`means_lr` (the means' current learning rate), `image` and `render` [C,H,W,3] (the photos and what
was rendered) and `views` (the indices of the training views of this step).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from gs_densify.errors import StrategyError
from gs_densify.strategies.ops import Optimizers, Params, State

REQUIRED = ("means", "scales", "quats", "opacities")


class Strategy:
    """The hooks, each doing nothing, and the optional members with their defaults."""

    absgrad: bool = False
    """Whether the rasteriser must provide `means2d.absgrad`."""

    recipe: ClassVar[Mapping[str, Any]] = {}
    """The method's own trainer settings, by dotted option name: they replace the defaults."""

    def scaled(self, factor: float) -> "Strategy":
        """The same method on a schedule `factor` times as long."""
        raise StrategyError(
            f"{type(self).__name__} has no scaled(factor); it cannot run with --schedule-factor"
            f" {factor}: set its own step options instead"
        )

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
