"""What the contract's checks judge by: pure functions of what was recorded. See `contract`."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

_LOSS_WINDOW = 10
_LOSS_SHARE = 0.9


@dataclass(frozen=True)
class StepRecord:
    """What one step did: numbers of Gaussians before and after, and the training views used."""

    step: int
    before: int
    after: int
    views: tuple[int, ...]


def changes_off_schedule(strategy: Any, records: Sequence[StepRecord]) -> str | None:
    """Returns the first change of the number of Gaussians at a step that no option of the strategy
    names.

    Steps from `refine_start_iter` to `refine_stop_iter` are named, and those that are the value of
    another integer option, or in a tuple of them. None where the strategy lacks these options.
    """
    start = getattr(strategy, "refine_start_iter", None)
    stop = getattr(strategy, "refine_stop_iter", None)
    if start is None or stop is None:
        return None
    named = _integers_of(strategy)
    for one in records:
        is_named = start <= one.step <= stop or bool({one.step, one.step + 1} & named)
        if one.before != one.after and not is_named:
            return (
                f"step {one.step}: {one.before} Gaussians became {one.after}, but"
                f" refine_start_iter is {start} and refine_stop_iter {stop}"
            )
    return None


def _integers_of(strategy: Any) -> set[int]:
    """Returns values of options that may be steps: not intervals, and not the two that bound the
    window.
    """
    bounds = ("refine_start_iter", "refine_stop_iter")
    names = [one.name for one in dataclasses.fields(strategy)]
    names = [name for name in names if name not in bounds and "every" not in name]
    values = [getattr(strategy, name) for name in names]
    flat = [item for value in values for item in (value if isinstance(value, tuple) else (value,))]
    return {item for item in flat if isinstance(item, int) and not isinstance(item, bool)}


def loss_that_stays(losses: Sequence[float]) -> str | None:
    """Returns a complaint where the last steps' mean loss is not clearly below the first steps'."""
    first, last = np.mean(losses[:_LOSS_WINDOW]), np.mean(losses[-_LOSS_WINDOW:])
    if last < _LOSS_SHARE * first:
        return None
    return f"mean loss {first:.4f} in the first {_LOSS_WINDOW} steps, {last:.4f} in the last"


def first_difference(one: Any, other: Any, path: str = "") -> str | None:
    """Returns where two nested states differ, to the last bit; None where they do not."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        if list(one) != list(other):
            return f"{path or 'state'} has {list(one)} and {list(other)}"
        pairs = ((f"{path}.{key}".lstrip("."), one[key], other[key]) for key in one)
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
        if len(one) != len(other):
            return f"{path} has {len(one)} and {len(other)} entries"
        pairs = ((f"{path}.{i}", a, b) for i, (a, b) in enumerate(zip(one, other, strict=True)))
    else:
        return None if _is_equal(one, other) else f"{path} differs{_extent(one, other)}"
    found = (first_difference(a, b, where) for where, a, b in pairs)
    return next((difference for difference in found if difference), None)


def _is_equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    return type(one) is type(other) and bool(one == other)


def _extent(one: Any, other: Any) -> str:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        if one.shape != other.shape:
            return f": shapes {tuple(one.shape)} and {tuple(other.shape)}"
        rows = int((one != other).reshape(len(one), -1).any(1).sum()) if one.dim() else 1
        return f" in {rows} of {len(one) if one.dim() else 1} rows"
    return f": {one} and {other}"
