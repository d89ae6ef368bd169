"""Calls a strategy's hooks, and stops the run in words when one breaks the model."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor

from gs_densify.errors import GsDensifyError, StrategyError
from gs_densify.model.gaussians import Gaussians, Optimizers, Params
from gs_densify.model.state import State
from gs_densify.strategies import ops
from gs_densify.strategies.base import StepInfo, Strategy

GSPLAT_HOOKS = (
    "check_sanity",
    "initialize_state",
    "step_pre_backward",
    "step_post_backward",
)
"""Methods without a default: where a class lacks one, nothing is called."""

OPTIONAL = tuple(
    name
    for name, one in vars(Strategy).items()
    if callable(one) and name not in GSPLAT_HOOKS and not name.startswith("_")
)
"""Methods that a class may lack, which then are `Strategy`'s."""

_Hook: TypeAlias = Callable[[Mapping[str, Any]], Any]


class AnyStrategy(Protocol):
    """All that is known of a strategy's class: the one hook without which it is none."""

    def step_post_backward(self, *args: Any, **kwargs: Any) -> None:
        """Is called after the optimisers' step, with arguments by name."""


class StrategyAdapter:
    """A strategy with all of the contract's members, whatever its class has of them.

    Methods are bound when it is made. They are called with those of the offered arguments that
    their signatures have, since these differ between gsplat's strategies (`packed`, `lr`, `scene`)
    and between versions. An optional method that is missing, or that returns None, has the default
    that `base.Strategy` gives.
    """

    def __init__(
        self, name: str, strategy: AnyStrategy, *, max_gaussians: int | None = None
    ) -> None:
        self.name = name
        self.strategy = strategy
        self.max_gaussians = max_gaussians
        self._defaults = {hook: _bound(_default(strategy, hook)) for hook in OPTIONAL}
        self._hooks = {hook: self._bind(hook) for hook in (*GSPLAT_HOOKS, *OPTIONAL)}

    def start(self, params: Params, optimizers: Optimizers, *, scene_scale: float) -> Gaussians:
        """Checks that the strategy fits the model; returns it with the strategy's statistics."""
        self._call("check_sanity", -1, params=params, optimizers=optimizers)
        entries = self._call("initialize_state", -1, scene_scale=scene_scale)
        gaussians = Gaussians(params, optimizers, self._state_of(entries))
        self._enforce_cap(gaussians)
        return gaussians

    def needs_absgrad(self, step: int) -> bool:
        """Returns whether the rasteriser must give absolute gradients at this step."""
        return bool(self._ask("needs_absgrad", step))

    def num_attributed_maps(self, step: int) -> int:
        """Returns how many maps of pixels are to be attributed to Gaussians at this step."""
        return self._ask("num_attributed_maps", step)

    def attributed_maps(self, step: int, info: StepInfo, *, shape: tuple[int, ...]) -> Tensor:
        """Returns those maps, which must be of `shape` [C,H,W,M]."""
        maps = self._call("attributed_maps", step, step=step, info=info)
        found = tuple(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
        if found != tuple(shape):
            needed = f"maps of shape {tuple(shape)} are needed"
            raise self.blame_for(f"gave {found}", "attributed_maps", step, expected=needed)
        return maps

    def regularization(self, params: Params, step: int) -> Tensor | None:
        """Returns the strategy's own term of the loss."""
        return self._ask("regularization", step, params=params)

    def update_every(self, step: int) -> int:
        """Returns the number of steps whose gradients are summed before the optimisers step."""
        return max(1, self._ask("update_every", step))

    def steps_together(self, step: int, summed: int) -> int:
        """Returns how many steps from this one on may be rendered in one call.

        None lies beyond the next update of the optimisers, `summed` steps after the last; and maps
        are attributed one step at a time, since their sums would be over all of its views.
        """
        if self.num_attributed_maps(step):
            return 1
        wanted = self._ask("steps_together", step)
        return max(1, min(wanted, self.update_every(step) - summed))

    def lr_step(self, step: int) -> int:
        """Returns the step of the learning-rate schedule, where a method restarts it."""
        return self._ask("lr_step", step)

    def sh_degree(self, step: int, scheduled: int, *, highest: int) -> int:
        """Returns the SH degree to render with, where a method has its own; at most `highest`."""
        wanted = self._ask("sh_degree", step, scheduled=scheduled)
        if wanted not in range(highest + 1):
            available = f"the model has 0 to {highest}"
            raise self.blame_for(f"gave {wanted}", "sh_degree", step, expected=available)
        return wanted

    def pre_backward(self, gaussians: Gaussians, step: int, info: StepInfo) -> None:
        """Calls the hook before `loss.backward()`."""
        self._call("step_pre_backward", step, **gaussians._asdict(), step=step, info=info)

    def post_backward(
        self, gaussians: Gaussians, step: int, info: StepInfo, *, means_lr: float, packed: bool
    ) -> None:
        """Calls the hook after the optimisers' step, checks what it left and enforces the cap."""
        before = gaussians.num
        self._call(
            "step_post_backward",
            step,
            **gaussians._asdict(),
            step=step,
            info=info,
            packed=packed,
            lr=means_lr,
            scene=None,
        )
        problem = gaussians.out_of_step(before)
        if problem is None and gaussians.num == 0:
            problem = "no Gaussian is left"
        if problem:
            raise self.blame_for(problem, "step_post_backward", step)
        self._enforce_cap(gaussians)

    def blame_for(
        self,
        problem: str,
        hook: str,
        step: int,
        kind: type[StrategyError] = StrategyError,
        *,
        expected: str = "",
        action: str = "",
    ) -> StrategyError:
        """Returns an error that names the strategy and the hook as the cause of a problem."""
        when = "before the first step" if step < 0 else f"step {step}"
        found = f"strategy '{self.name}', {when}, {hook}: {problem}"
        return kind(found, expected=expected, action=action)

    def _state_of(self, entries: object) -> State:
        """Returns what `initialize_state` gave, a mapping or None, as a state."""
        if isinstance(entries, State):
            return entries
        if entries is not None and not isinstance(entries, Mapping):
            problem, needed = f"gave {type(entries).__name__}", "a dictionary is needed"
            raise self.blame_for(problem, "initialize_state", -1, expected=needed)
        return State(entries, per_gaussian=getattr(self.strategy, "per_gaussian", None))

    def _enforce_cap(self, gaussians: Gaussians) -> None:
        """Drops the least opaque Gaussians above `max_gaussians`, whatever the strategy does."""
        if self.max_gaussians is not None:
            ops.remove_surplus(*gaussians, self.max_gaussians)

    def _bind(self, hook: str) -> _Hook:
        method = getattr(self.strategy, hook, None)
        if method is None:
            return self._defaults.get(hook, _nothing)
        if not callable(method):
            raise self.blame_for(f"is {method!r}", hook, -1, expected="a method is needed")
        return _bound(method)

    def _ask(self, hook: str, step: int, **offered: Any) -> Any:
        """Returns what an optional method says of a step, or its default."""
        found = self._call(hook, step, step=step, **offered)
        return self._defaults[hook]({"step": step, **offered}) if found is None else found

    def _call(self, hook: str, at: int, /, **offered: Any) -> Any:
        try:
            return self._hooks[hook](offered)
        except StrategyError as error:
            raise self.blame_for(
                error.found_where, hook, at, expected=error.expected, action=error.action
            ) from error
        except (GsDensifyError, torch.cuda.OutOfMemoryError):
            raise
        except Exception as error:
            text = " ".join(str(error).split()) or "no message"
            raise self.blame_for(f"{type(error).__name__}: {text}", hook, at) from error


def _default(strategy: AnyStrategy, hook: str) -> Callable[..., Any]:
    """Returns what stands for an optional method that a strategy lacks."""
    if hook == "needs_absgrad":  # gsplat's classes have `absgrad` alone: it holds at all steps
        return lambda: getattr(strategy, "absgrad", False)
    return getattr(Strategy, hook).__get__(strategy)


def _bound(method: Callable[..., Any]) -> _Hook:
    """Returns a call of `method` with those of some arguments that its signature has.

    Looking at a signature takes longer than many a hook.
    """
    parameters = inspect.signature(method).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return lambda offered: method(**offered)
    names = frozenset(parameters)
    return lambda offered: method(**{k: v for k, v in offered.items() if k in names})


def _nothing(offered: Mapping[str, Any]) -> None:
    """Stands for a hook that a strategy lacks."""
