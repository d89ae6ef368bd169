"""What of a model must stay as it is, however its rows change: which parameters it has, of what
kind, and that one optimiser trains each.

Whoever changes a model from outside can break any of it, and would see the trainer fail somewhere
else. Only what Python knows is looked at, so that nothing waits for a GPU.
"""

import weakref
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from gs_densify.model.types import Splats

_ADAMS = {"step", "exp_avg", "exp_avg_sq"}
"""What Adam keeps of a parameter once it has made a step."""


class _Kind(NamedTuple):
    """What all values of a parameter have in common."""

    row: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    def __str__(self) -> str:
        """As errors name it: `float32 [N, 3] on cpu`."""
        shape = ", ".join(["N", *map(str, self.row)])
        return f"{str(self.dtype).removeprefix('torch.')} [{shape}] on {self.device}"


class Form:
    """The form that a model has when it is made; `problem` compares it with what it has later."""

    def __init__(self, params: Splats, optimizers: Mapping[str, Optimizer]) -> None:
        self._kinds = {name: _kind_of(value) for name, value in params.items()}
        self._trained = frozenset(optimizers)
        self.device = self._kinds["means"].device

    def problem(self, params: Splats, optimizers: Mapping[str, Optimizer]) -> str | None:
        """Returns in words what is not as it was; None where all is."""
        values = dict(params.items())
        if values.keys() != self._kinds.keys():
            return f"parameters are {_listed(values)}, not {_listed(self._kinds)}"
        if optimizers.keys() != self._trained:
            return f"optimisers are those of {_listed(optimizers)}, not of {_listed(self._trained)}"
        places: dict[int, str] = {}
        for name, value in values.items():
            problem = self._problem_of_parameter(name, value)
            if problem is None and value.numel():
                other = places.setdefault(value.data_ptr(), name)
                if other != name:
                    return f"'{name}' and '{other}' lie in the same memory"
            if problem is None and name in self._trained:
                problem = _problem_of_optimizer(name, value, optimizers[name])
            if problem is not None:
                return problem
        return None

    def _problem_of_parameter(self, name: str, value: Any) -> str | None:
        kind = self._kinds[name]
        if not isinstance(value, torch.nn.Parameter):
            return f"'{name}' is a {type(value).__name__}, not a Parameter"
        if value.layout is not torch.strided or value.dim() == 0:
            return f"'{name}' has no rows in memory"
        if _kind_of(value) != kind:
            return f"'{name}' is {_kind_of(value)}, not {kind} as before"
        if not value.is_contiguous() and has_shared_elements(value):
            return f"'{name}' is an expanded tensor, whose elements share memory (clone() it)"
        return None


class Trace:
    """What tells whether a model was touched since: the tensors and optimisers themselves, where
    they lie, and their shapes.

    A model that leaves the same trace is one that `Form.problem` says the same of; it costs a
    tenth of it. Nothing is kept alive by it: it is no model's once something of it is gone.
    """

    def __init__(self, params: Splats, optimizers: Mapping[str, Optimizer]) -> None:
        """Raises what a model does that lacks what has to be looked at."""
        self._marks = _marks(params, optimizers)
        self._seen = [weakref.ref(one) for one in _seen(params, optimizers)]

    def is_of(self, params: Splats, optimizers: Mapping[str, Optimizer]) -> bool:
        """Returns whether the model is the one that left it, and nothing of it was touched."""
        try:
            is_equal = self._marks == _marks(params, optimizers)
        except _LACKS:
            return False
        # Another object may have taken the place of one that is gone.
        return is_equal and all([one() is not None for one in self._seen])


_LACKS = (AttributeError, KeyError, IndexError, TypeError, RuntimeError)


def traced(params: Splats, optimizers: Mapping[str, Optimizer]) -> Trace | None:
    """Returns the trace of a model; None of one that lacks what has to be looked at."""
    try:
        return Trace(params, optimizers)
    except _LACKS:
        return None


def _marks(params: Splats, optimizers: Mapping[str, Optimizer]) -> list[object]:
    marks: list[object] = [len(params), len(optimizers)]
    for name, value in params.items():
        marks += (name, *_mark(value))
    for name, optimizer in optimizers.items():
        groups = optimizer.param_groups
        parameters = groups[0]["params"]
        is_usual = len(groups) == len(parameters) == 1 and _is_rate(groups[0]["lr"])
        marks += (name, id(optimizer), is_usual, id(parameters[0]))
        for key, entry in optimizer.state.get(parameters[0], _NOTHING).items():
            marks += (key, *_mark(entry))
    return marks


_NOTHING: Mapping[str, Any] = {}


def _mark(one: object) -> tuple[object, ...]:
    """Returns what is remembered of an entry."""
    if isinstance(one, Tensor):
        return id(one), one.data_ptr(), one.shape, one.stride(), one.dtype
    # What cannot be compared makes a trace unlike every other.
    return (one if isinstance(one, int | float | str) else object(),)


def _seen(params: Splats, optimizers: Mapping[str, Optimizer]) -> Iterator[object]:
    """Yields all that a trace knows by its identity."""
    yield from params.values()
    for optimizer in optimizers.values():
        yield optimizer
        parameter = optimizer.param_groups[0]["params"][0]
        yield parameter
        entries = optimizer.state.get(parameter, _NOTHING).values()
        yield from (entry for entry in entries if isinstance(entry, Tensor))


def has_shared_elements(tensor: Tensor) -> bool:
    """Returns whether elements of a tensor lie in the same place, as `expand` leaves them."""
    sizes = zip(tensor.shape, tensor.stride(), strict=True)
    return any(stride == 0 and size > 1 for size, stride in sizes)


def _kind_of(value: Tensor) -> _Kind:
    return _Kind(tuple(value.shape[1:]), value.dtype, value.device)


def _problem_of_optimizer(name: str, parameter: Tensor, optimizer: Any) -> str | None:
    whose = f"the optimiser of '{name}'"
    if not isinstance(optimizer, Optimizer):
        return f"{whose} is a {type(optimizer).__name__}"
    groups = optimizer.param_groups
    if len(groups) != 1 or len(groups[0].get("params", ())) != 1:
        return f"{whose} has not one group of one parameter any more"
    rate = groups[0].get("lr")
    if not _is_rate(rate):
        return f"the learning rate of {whose} is {rate!r}, no finite number"
    entries = optimizer.state.get(parameter)
    if not entries or not isinstance(optimizer, Adam):
        return None
    if not entries.keys() >= _ADAMS or not all(isinstance(entries[one], Tensor) for one in _ADAMS):
        return f"{whose} has lost moments: it has {_listed(entries)}"
    moments = entries["exp_avg"], entries["exp_avg_sq"]
    if moments[0] is moments[1]:
        return f"both moments of {whose} are one tensor"
    for moment in moments:
        if moment.dtype != parameter.dtype or moment.device != parameter.device:
            return f"a moment of {whose} is {_kind_of(moment)}"
    return None


def _is_rate(rate: object) -> bool:
    """Returns whether an optimiser can be given `rate` for its learning rate."""
    return isinstance(rate, Tensor) or (isinstance(rate, int | float) and rate - rate == 0)


def _listed(names: Any) -> str:
    return ", ".join(sorted(map(str, names))) or "none"
