"""Values of a study as people write them: 1M, 2h, a range. Standard library only."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from gs_densify.errors import ConfigError
from gs_densify.flags.values import number, whole_number
from gs_densify.near_names import known_or_meant

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+")
_MOST_VALUES = 1000


def count_of(value: Any, place: str) -> int:
    """Returns a number of Gaussians: 500000, 500k or 1.5M; ConfigError for anything else."""
    try:
        count = whole_number(str(value))
    except ValueError:
        count = 0
    if isinstance(value, bool) or count < 1:
        raise ConfigError(
            f"{place}: {value!r} is no number of Gaussians",
            expected="a whole number above 0, such as 500k or 1M",
        )
    return count


def seconds_of(value: Any, place: str) -> float:
    """Returns a duration in seconds: 90, 90s, 15m, 2h or 1h30m; ConfigError for anything else."""
    seconds = 0.0
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str) and _DURATION.fullmatch(value):
        parts = re.findall(r"([\d.]+)([smhd])", value)
        seconds = sum(float(count) * _SECONDS[unit] for count, unit in parts)
    if not 0 < seconds < math.inf:
        raise ConfigError(
            f"{place}: {value!r} is no duration", expected="something such as 90s, 15m or 1h30m"
        )
    return seconds


def values_of(value: Any, place: str) -> list[Any]:
    """Returns the values of a sweep: those of a list, or `count` ones from `from` to `to`."""
    if isinstance(value, list) and value:
        return value
    if not isinstance(value, Mapping):
        raise ConfigError(
            f"{place}: {value!r} is neither a list of values nor a range",
            expected="[0, 1, 2], or {from: 0, to: 2, count: 3, scale: linear}",
        )
    return _range(value, place)


def _range(value: Mapping[Any, Any], place: str) -> list[Any]:
    known_keys(value, ("from", "to", "count", "scale"), place)
    missing = [key for key in ("from", "to", "count") if key not in value]
    if missing:
        raise ConfigError(f"{place}: a range without '{missing[0]}'")
    first, last = (_number(value[key], f"{place}: {key}") for key in ("from", "to"))
    count, scale = value["count"], value.get("scale", "linear")
    if type(count) is not int or not 2 <= count <= _MOST_VALUES:
        raise ConfigError(
            f"{place}: count is {count!r}", expected=f"it must be 2 to {_MOST_VALUES}"
        )
    if scale not in ("linear", "log"):
        raise ConfigError(f"{place}: scale is {scale!r}", expected="known: linear, log")
    if scale == "log" and min(first, last) <= 0:
        raise ConfigError(f"{place}: scale log from {first} to {last}", expected="numbers above 0")
    return _spread(first, last, count, math.log if scale == "log" else None)


def _spread(
    first: float, last: float, count: int, log: Callable[[float], float] | None
) -> list[Any]:
    ends = (first, last) if log is None else (log(first), log(last))
    inner = [ends[0] + (ends[1] - ends[0]) * i / (count - 1) for i in range(1, count - 1)]
    values = [first, *(inner if log is None else map(math.exp, inner)), last]
    rounded = [float(f"{one:.6g}") for one in values]
    whole = log is None and all(one.is_integer() for one in rounded)
    return [int(one) for one in rounded] if whole else rounded


def _number(value: Any, place: str) -> float:
    try:
        read = math.nan if isinstance(value, bool) else number(str(value))
    except ValueError:
        read = math.nan
    if not math.isfinite(read):
        raise ConfigError(f"{place} is {value!r}", expected="it must be a number")
    return read


def known_keys(values: Mapping[Any, Any], known: tuple[str, ...], place: str) -> None:
    """Raises ConfigError for the first key of `values` that is not among `known`."""
    for key in values:
        if key not in known:
            raise ConfigError(
                f"{place}: unknown key {key!r}", expected=known_or_meant(str(key), known)
            )
