"""Stretching a method's steps."""

import dataclasses
from typing import Any

MIN_WINDOW = 20
"""A refinement needs the gradients of several views: `refine_every` is not scaled below this."""

_SCALED = ("refine_start_iter", "refine_stop_iter", "refine_scale2d_stop_iter")


def can_be_scaled(cls: type) -> bool:
    """Returns whether a strategy of this class can run on a shorter or longer schedule."""
    fields = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
    has_gsplat_steps = any(field.init and field.name == "refine_every" for field in fields)
    return has_gsplat_steps or hasattr(cls, "scaled")


def scaled_steps(strategy: Any, factor: float) -> Any:
    """Returns `strategy`, with gsplat's step options, on a schedule `factor` times as long.

    As many refinements as before lie between two opacity resets. None where it has no such options.
    """
    names = {field.name for field in dataclasses.fields(strategy) if field.init}
    if "refine_every" not in names:
        return None
    values = {n: round(getattr(strategy, n) * factor) for n in _SCALED if n in names}
    before = strategy.refine_every
    every = max(min(MIN_WINDOW, before), round(before * factor))
    for name in {"reset_every", "pause_refine_after_reset"} & names:
        values[name] = round(getattr(strategy, name) * every / before)
    return dataclasses.replace(strategy, refine_every=every, **values)
