"""The steps of a method: stretching them, and the curve on which its Gaussians grow in number."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

MIN_WINDOW = 20
"""A refinement needs the gradients of several views: `refine_every` is not scaled below this."""

GROWTH_LIMIT = 0.3
"""Most Gaussians that one refinement adds on the way to a budget, as a share of those before."""

_SCALED = ("refine_start_iter", "refine_stop_iter", "refine_scale2d_stop_iter")


def can_be_scaled(cls: type) -> bool:
    """Returns whether a strategy of this class can run on a shorter or longer schedule."""
    fields = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
    has_gsplat_steps = any(field.init and field.name == "refine_every" for field in fields)
    return has_gsplat_steps or hasattr(cls, "scaled")


def scaled_steps(strategy: Any, factor: float) -> Any:
    """Returns `strategy`, with gsplat's step options, on a schedule `factor` times as long.

    As many refinements as before lie between two opacity resets. What is infinite stays so. None
    where it has no such options.
    """
    names = {field.name for field in dataclasses.fields(strategy) if field.init}
    if "refine_every" not in names:
        return None
    values = {n: _times(getattr(strategy, n), factor) for n in _SCALED if n in names}
    before = strategy.refine_every
    every = max(min(MIN_WINDOW, before), _times(before, factor))
    for name in {"reset_every", "pause_refine_after_reset"} & names:
        values[name] = _times(getattr(strategy, name), every, before)
    return dataclasses.replace(strategy, refine_every=every, **values)


def _times(steps: float, factor: float, divisor: float = 1) -> float:
    """Returns `steps * factor / divisor` as a whole number; an infinite one stays."""
    return steps if math.isinf(steps) else round(steps * factor / divisor)


def refinement_steps(strategy: Any) -> range:
    """Returns the steps at which a strategy with gsplat's step options refines, t > start, t < stop
    in multiples of `refine_every`.
    """
    every = strategy.refine_every
    first = (strategy.refine_start_iter // every + 1) * every
    return range(first, strategy.refine_stop_iter, every)


def target_count(start: int, budget: int, progress: float, reduction: int = 1) -> int:
    """Returns the root curve from `start` Gaussians at progress 0 to `budget` at 1 (2508.12313).

    While photos are reduced by a factor, fewer are needed (2503.18402, its r^(2 - progress)).
    """
    progress = max(0.0, min(1.0, progress))
    return round(start + (budget - start) * progress**0.5 / reduction ** (2 - progress))


def number_to_add(
    num: int,
    budget: int,
    *,
    step: int,
    steps: Sequence[int],
    begin: int,
    start: int,
    limit: float = GROWTH_LIMIT,
    reduction: int = 1,
) -> int:
    """Returns by how many of `num` Gaussians to grow at a refinement, so that the last one ends at
    `budget`.

    The root curve leads there. A refinement adds at most the share `limit`, or the one by which
    all that are left would have to grow.

    Args:
        num: Gaussians that the refinement keeps.
        budget: the number to end with.
        step: of this refinement.
        steps: of all refinements, rising.
        begin: the step at which the curve begins.
        start: Gaussians there.
        limit: most that are added, as a share of `num`.
        reduction: the factor by which photos are reduced at this step.
    """
    is_last = step == steps[-1]
    progress = 1.0 if is_last else (step - begin) / (steps[-1] - begin)
    target = target_count(start, budget, progress, 1 if is_last else reduction)
    most = max(limit, needed_growth(num, budget, step, steps))
    return max(0, min(target - num, math.ceil(most * num)))


def needed_growth(num: int, budget: int, step: int, steps: Sequence[int]) -> float:
    """Returns the share by which each refinement of `steps`, from `step` on, would have to grow
    `num` Gaussians to `budget`.
    """
    left = sum(one >= step for one in steps)
    return float((budget / max(num, 1)) ** (1 / left) - 1)
