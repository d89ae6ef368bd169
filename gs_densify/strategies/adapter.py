"""Calls a strategy's hooks, and stops the run in words when one breaks the model."""

import inspect
import math
import operator
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any, NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor

from gs_densify.entry_points import described
from gs_densify.errors import GsDensifyError, StrategyError
from gs_densify.memory.shortage import is_shortage
from gs_densify.model.form import Form, Trace, traced
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
        self.totals: tuple[str, ...] = getattr(strategy, "totals", ())
        """Names of the numbers in its state that count Gaussians."""
        self._form: Form | None = None
        self._trace: Trace | None = None  # of the model that was looked at last
        """Of the model, which no hook may change."""
        self._is_ours = type(strategy).__module__.startswith("gs_densify.")
        self._defaults = {hook: _bound(_default(strategy, hook)) for hook in OPTIONAL}
        self._hooks = {hook: self._bind(hook) for hook in (*GSPLAT_HOOKS, *OPTIONAL)}

    def start(self, params: Params, optimizers: Optimizers, *, scene_scale: float) -> Gaussians:
        """Checks that the strategy fits the model; returns it with the strategy's statistics."""
        self._check_switches(-1)
        self._form, before = Form(params, optimizers), len(params["means"])
        self._call("check_sanity", -1, params=params, optimizers=optimizers)
        entries = self._call("initialize_state", -1, scene_scale=scene_scale)
        gaussians = Gaussians(params, optimizers, self._state_of(entries))
        self._check_model(gaussians, before, "initialize_state", -1)
        with self.answering(-1):
            self._enforce_cap(gaussians)
        return gaussians

    @contextmanager
    def answering(self, step: int) -> Iterator[None]:
        """Blames the strategy for an error inside that none of its hooks raised, unless it is ours.

        What a hook may leave behind is checked as far as it is known beforehand; this is for the
        rest, which shows when the trainer goes on, in the backward pass for example. An error under
        a strategy of this package is a fault of ours, and stays as it is. What is printed inside
        goes to stderr, since stdout has the results of commands.
        """
        try:
            with redirect_stdout(sys.stderr):
                yield
        except (GsDensifyError, KeyboardInterrupt):
            raise
        except BaseException as error:
            if is_shortage(error) or self._is_ours:
                raise
            raise self.blame_for(
                described(error),
                "after its hooks",
                step,
                action="what fails with --strategy default, too, is not its doing",
            ) from error

    def needs_absgrad(self, step: int) -> bool:
        """Returns whether the rasteriser must give absolute gradients at this step."""
        return self._ask("needs_absgrad", step)

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
        is_elsewhere = self._form is not None and maps.device != self._form.device
        if is_elsewhere or not maps.is_floating_point():
            needed = "floats on the device of the model are needed"
            raise self.blame_for(f"gave {_shown(maps)}", "attributed_maps", step, expected=needed)
        return maps

    def regularization(self, params: Params, step: int) -> Tensor | None:
        """Returns the strategy's own term [] of the loss, or None."""
        found = self._ask("regularization", step, params=params)
        return found.reshape(()) if found is not None and found.dim() else found

    @property
    def has_own_term(self) -> bool:
        """Returns whether the strategy may add a term to the loss."""
        method = getattr(self.strategy, "regularization", Strategy.regularization)
        return getattr(method, "__func__", method) is not Strategy.regularization

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
        if not 0 <= wanted <= highest:
            available = f"the model has 0 to {highest}"
            raise self.blame_for(f"gave {wanted}", "sh_degree", step, expected=available)
        return wanted

    def pre_backward(self, gaussians: Gaussians, step: int, info: StepInfo) -> None:
        """Calls the hook before `loss.backward()`, which must leave the parameters that it is
        for.
        """
        before = gaussians.params["means"]
        self._call("step_pre_backward", step, **gaussians._asdict(), step=step, info=info)
        self._check_switches(step)
        if gaussians.params.get("means") is not before:
            raise self.blame_for(
                "replaced parameters, whose gradients would be lost",
                "step_pre_backward",
                step,
                action="change the model in step_post_backward",
            )

    def post_backward(
        self, gaussians: Gaussians, step: int, info: StepInfo, *, means_lr: float, packed: bool
    ) -> None:
        """Calls the hook after the optimisers' step, checks what it left and enforces the cap."""
        before, means = gaussians.num, gaussians.params["means"]
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
        # A strategy of this package changes a model by methods that leave it whole.
        if not self._is_ours or gaussians.params["means"] is not means:
            self._check_model(gaussians, before, "step_post_backward", step)
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
        names = getattr(self.strategy, "per_gaussian", None)
        is_fit = isinstance(names, tuple | list | set | frozenset)
        if names is not None and not (is_fit and all(isinstance(one, str) for one in names)):
            problem, needed = f"is {_shown(names)}", "a tuple of names is needed"
            raise self.blame_for(problem, "per_gaussian", -1, expected=needed)
        return State(entries, per_gaussian=names)

    def _check_model(self, gaussians: Gaussians, before: int, hook: str, step: int) -> None:
        """Refuses what no longer has its form, or rows for all of the Gaussians.

        `before` is their number before the hook.
        """
        self._check_switches(step)
        params, optimizers, _ = gaussians
        try:
            if self._trace is not None and self._trace.is_of(params, optimizers):
                problem = gaussians.problem_of_state(before)
            else:
                problem = self._form.problem(params, optimizers) if self._form is not None else None
                problem = problem or gaussians.out_of_step(before)
                self._trace = traced(params, optimizers) if problem is None else None
        except Exception as error:
            problem = f"leaves a model that cannot be looked at: {described(error)}"
        if problem is None and gaussians.num == 0:
            problem = "no Gaussian is left"
        if problem:
            raise self.blame_for(problem, hook, step)

    def _enforce_cap(self, gaussians: Gaussians) -> None:
        """Drops the least opaque Gaussians above `max_gaussians`, whatever the strategy does."""
        if self.max_gaussians is not None:
            ops.remove_surplus(*gaussians, self.max_gaussians)

    def _bind(self, hook: str) -> _Hook:
        try:
            method = getattr(self.strategy, hook, None)
            if method is not None and callable(method):
                bound = _bound(method)
        except Exception as error:
            raise self.blame_for(f"cannot be called: {described(error)}", hook, -1) from error
        if method is None:
            return self._defaults.get(hook, _nothing)
        if not callable(method):
            raise self.blame_for(f"is {_shown(method)}", hook, -1, expected="a method is needed")
        if inspect.iscoroutinefunction(method) or inspect.isgeneratorfunction(method):
            problem = "would not run when it is called: it is async, or has a yield"
            raise self.blame_for(problem, hook, -1, expected="a plain method is needed")
        return bound

    def _ask(self, hook: str, step: int, **offered: Any) -> Any:
        """Returns what an optional method says of a step, or its default, in the type that is
        needed.
        """
        offered["step"] = step
        found = self._call(hook, step, **offered)
        if found is None:
            found = self._call(hook, step, self._defaults[hook], **offered)
        answer = _ANSWERS[hook]
        try:
            return answer.taken(found)
        except Exception:
            raise self.blame_for(
                f"gave {_shown(found)}", hook, step, expected=f"{answer.needed} is needed"
            ) from None

    def _call(self, hook: str, at: int, /, method: _Hook | None = None, **offered: Any) -> Any:
        """Calls a hook, or `method` in its place; whatever it raises becomes a StrategyError."""
        try:
            return (method or self._hooks[hook])(offered)
        except StrategyError as error:
            raise self.blame_for(
                error.found_where, hook, at, expected=error.expected, action=error.action
            ) from error
        except (GsDensifyError, KeyboardInterrupt):
            raise
        except BaseException as error:  # SystemExit, too: a run would end as if it were done
            if is_shortage(error):
                raise
            raise self.blame_for(described(error), hook, at) from error

    def _check_switches(self, step: int) -> None:
        """Refuses a strategy that left switches of torch in another position, and sets them
        back.
        """
        found = _switches()
        if found == _PLAIN:
            return
        _set_switches(_PLAIN)
        changed = [
            f"{name.replace('_', ' ')} {value}"
            for name, value in found._asdict().items()
            if value != getattr(_PLAIN, name)
        ]
        raise self.blame_for(
            f"left torch with {', '.join(changed)}",
            "its code",
            step,
            action="use a `with` block, which undoes it",
        )


class _Answer(NamedTuple):
    """What an optional method may say: it is `taken` in the type that the trainer needs."""

    taken: Callable[[Any], Any]
    needed: str


def _truth(value: Any) -> bool:
    return bool(value)


def _count(value: Any) -> int:
    return max(0, operator.index(value))


def _schedule_step(value: Any) -> float:
    number = value if isinstance(value, int | float) else value.item()
    if not 0 <= number < math.inf:
        raise ValueError
    return number


def _term(value: Any) -> Tensor | None:
    if value is not None and not (
        isinstance(value, Tensor) and value.is_floating_point() and value.numel() == 1
    ):
        raise TypeError
    return value


_ANSWERS = {
    "needs_absgrad": _Answer(_truth, "True or False"),
    "num_attributed_maps": _Answer(_count, "a whole number"),
    "update_every": _Answer(_count, "a whole number"),
    "steps_together": _Answer(_count, "a whole number"),
    "lr_step": _Answer(_schedule_step, "a finite number of at least 0"),
    "sh_degree": _Answer(operator.index, "a whole number"),
    "regularization": _Answer(_term, "a tensor [] of floats"),
}


def _shown(value: object) -> str:
    """Returns a value in a few words, whatever it is."""
    if isinstance(value, Tensor):
        kind = str(value.dtype).removeprefix("torch.")
        return f"a tensor of shape {tuple(value.shape)}, {kind} on {value.device}"
    try:
        text = " ".join(repr(value).split())
    except Exception:
        return f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."


class _Switches(NamedTuple):
    """Positions of torch's switches on which what the trainer computes depends."""

    gradients: bool
    default_dtype: torch.dtype
    inference_mode: bool
    autocast_on_cpu: bool
    autocast_on_cuda: bool


_PLAIN = _Switches(True, torch.float32, False, False, False)
"""With which the trainer starts."""


def _switches() -> _Switches:
    return _Switches(
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.is_autocast_enabled("cuda"),
    )


def _set_switches(wanted: _Switches) -> None:
    """Sets all but the inference mode, which torch alone can leave."""
    torch.set_grad_enabled(wanted.gradients)
    torch.set_default_dtype(wanted.default_dtype)
    torch.set_autocast_enabled("cpu", wanted.autocast_on_cpu)
    torch.set_autocast_enabled("cuda", wanted.autocast_on_cuda)


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
