"""Runs a strategy's hooks, and stops the run in words when one breaks the model."""

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from gs_densify.errors import GsDensifyError, StrategyError
from gs_densify.model.state import State, may_have_rows, rows_of
from gs_densify.strategies import ops


class StrategyHost:
    """A strategy known only by its contract, with its statistics.

    Hooks are called with those of the offered keyword arguments that their signatures have, since
    signatures differ between gsplat's strategies (`packed`, `lr`, `scene`) and between versions.
    """

    def __init__(self, name: str, strategy: Any, *, max_gaussians: int | None = None) -> None:
        self.name = name
        self.strategy = strategy
        self.max_gaussians = max_gaussians
        self.state = State()

    def needs_absgrad(self, step: int) -> bool:
        """Whether the rasteriser must give absolute gradients at this step."""
        wanted = self._call("needs_absgrad", step, step=step)
        return bool(getattr(self.strategy, "absgrad", False) if wanted is None else wanted)

    def start(self, params: ops.Params, optimizers: ops.Optimizers, *, scene_scale: float) -> None:
        """Check that the strategy fits the model and make its statistics."""
        self._call("check_sanity", -1, params=params, optimizers=optimizers)
        self._take_state(self._call("initialize_state", -1, scene_scale=scene_scale))
        self._enforce_cap(params, optimizers)

    def _take_state(self, entries: Any) -> None:
        """Takes what `initialize_state` gave, a mapping or None."""
        if isinstance(entries, State):
            self.state = entries
            return
        if entries is not None and not isinstance(entries, Mapping):
            given = type(entries).__name__
            raise self._error("initialize_state", -1, f"gave {given}; a dictionary is needed")
        declared = getattr(self.strategy, "per_gaussian", None)
        self.state = State(entries, per_gaussian=declared)

    def num_attributed_maps(self, step: int) -> int:
        """How many per-pixel maps the strategy wants attributed to Gaussians at this step."""
        return self._call("num_attributed_maps", step, step=step) or 0

    def attributed_maps(self, step: int, info: dict[str, Any], *, shape: tuple[int, ...]) -> Tensor:
        """Those maps, which must be of `shape` [C,H,W,M]."""
        maps = self._call("attributed_maps", step, step=step, info=info)
        found = tuple(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
        if found != tuple(shape):
            problem = f"gave {found}; maps of shape {tuple(shape)} are needed"
            raise self._error("attributed_maps", step, problem)
        return maps

    def regularization(self, params: ops.Params, step: int) -> Tensor | None:
        """The strategy's own term of the loss."""
        return self._call("regularization", step, params=params, step=step)

    def update_every(self, step: int) -> int:
        """Steps whose gradients are summed before the optimisers step."""
        return self._call("update_every", step, step=step) or 1

    def steps_together(self, step: int, summed: int) -> int:
        """Returns how many steps from this one on may be rendered in one call.

        None lies beyond the next update of the optimisers, `summed` steps after the last; and maps
        are attributed one step at a time, since their sums would be over all of its views.
        """
        if self.num_attributed_maps(step):
            return 1
        wanted = self._call("steps_together", step, step=step) or 1
        return max(1, min(wanted, self.update_every(step) - summed))

    def lr_step(self, step: int) -> int:
        """The step of the learning-rate schedule, where a method restarts it."""
        wanted = self._call("lr_step", step, step=step)
        return step if wanted is None else wanted

    def sh_degree(self, step: int, scheduled: int, *, highest: int) -> int:
        """The SH degree to render with, where a method has its own schedule; at most `highest`."""
        wanted = self._call("sh_degree", step, step=step, scheduled=scheduled)
        if wanted is not None and wanted not in range(highest + 1):
            raise self._error("sh_degree", step, f"gave {wanted}; the model has 0 to {highest}")
        return scheduled if wanted is None else wanted

    def pre_backward(
        self, params: ops.Params, optimizers: ops.Optimizers, step: int, info: dict[str, Any]
    ) -> None:
        """The hook before `loss.backward()`."""
        self._call(
            "step_pre_backward",
            step,
            params=params,
            optimizers=optimizers,
            state=self.state,
            step=step,
            info=info,
        )

    def post_backward(
        self,
        params: ops.Params,
        optimizers: ops.Optimizers,
        step: int,
        info: dict[str, Any],
        *,
        means_lr: float,
        packed: bool,
    ) -> None:
        """The hook after the optimisers' step, and the check of what it left."""
        before = ops.count(params)
        self._call(
            "step_post_backward",
            step,
            params=params,
            optimizers=optimizers,
            state=self.state,
            step=step,
            info=info,
            packed=packed,
            lr=means_lr,
            scene=None,
        )
        problem = out_of_step(params, optimizers, self.state, before)
        if problem:
            raise self._error("step_post_backward", step, problem)
        if ops.count(params) == 0:
            raise self._error("step_post_backward", step, "no Gaussian is left")
        self._enforce_cap(params, optimizers)

    def blame_for(
        self, problem: str, hook: str, step: int, kind: type[StrategyError] = StrategyError
    ) -> StrategyError:
        """Returns an error that names the strategy and the hook as the cause of a problem."""
        when = "before the first step" if step < 0 else f"step {step}"
        return kind(f"strategy '{self.name}', {when}, {hook}: {problem}")

    def _enforce_cap(self, params: ops.Params, optimizers: ops.Optimizers) -> None:
        """Drops the least opaque Gaussians above `max_gaussians`, whatever the strategy does."""
        if self.max_gaussians is not None:
            ops.remove_surplus(params, optimizers, self.state, self.max_gaussians)

    def _call(self, hook: str, at: int, /, **offered: Any) -> Any:
        method = getattr(self.strategy, hook, None)
        if method is None:
            return None
        try:
            return method(**_accepted(method, offered))
        except StrategyError as error:
            raise self._error(hook, at, str(error)) from error
        except (GsDensifyError, torch.cuda.OutOfMemoryError):
            raise
        except Exception as error:
            text = " ".join(str(error).split()) or "no message"
            raise self._error(hook, at, f"{type(error).__name__}: {text}") from error

    def _error(self, hook: str, step: int, problem: str) -> StrategyError:
        return self.blame_for(problem, hook, step)


def _accepted(method: Callable[..., Any], offered: dict[str, Any]) -> dict[str, Any]:
    names = _parameter_names(getattr(method, "__func__", method))
    return {k: v for k, v in offered.items() if k in names} if names is not None else offered


@lru_cache(maxsize=256)  # looking at a signature takes longer than many a hook
def _parameter_names(function: Callable[..., Any]) -> frozenset[str] | None:
    """Names of the parameters; None where any keyword is taken."""
    parameters = inspect.signature(function).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return None
    return frozenset(parameters)


def out_of_step(
    params: ops.Params, optimizers: ops.Optimizers, state: dict[str, Any], before: int
) -> str | None:
    """Returns in words what no longer has N rows; None when all fits. Looks at shapes only.

    `before` is the number of rows before the hook.
    """
    rows = ops.count(params)
    for name, value in params.items():
        if len(value) != rows:
            return f"'{name}' has {len(value)} rows, 'means' has {rows}"
        if name not in optimizers:
            continue
        trained = optimizers[name].param_groups[0]["params"][0]
        if trained is not value:
            return f"the optimiser of '{name}' trains another tensor (of {len(trained)} rows)"
        for key, moment in optimizers[name].state.get(value, {}).items():
            if isinstance(moment, Tensor) and moment.dim() > 0 and moment.shape != value.shape:
                return (
                    f"'{key}' of the optimiser of '{name}' has shape {tuple(moment.shape)},"
                    f" the parameter {tuple(value.shape)}"
                )
    for key, value in state.items():
        is_forgotten = (
            isinstance(value, Tensor) and value.dim() > 0 and rows != before == len(value)
        )
        if is_forgotten and may_have_rows(state, key):
            return f"statistic '{key}' has {before} rows, the model {rows}"
    try:
        rows_of(state, rows)
    except StrategyError as error:
        return str(error)
    return None
