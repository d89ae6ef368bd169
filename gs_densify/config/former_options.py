"""Options that earlier versions had, or had not yet, in what they saved. Imports no torch."""

from collections.abc import MutableMapping, Sequence
from typing import Any

from gs_densify.errors import ConfigError
from gs_densify.results.protocol import GSPLAT_NEAR_PLANE

_GROUPS = ("init", "lr", "loss", "render", "data", "evaluation")
_WORLDS = {True: "cameras", False: "none"}
"""What --data.normalize and --data.no-normalize meant before worlds had names."""


def translate_retired_flags(argv: Sequence[str]) -> list[str]:
    """The arguments with flags that are gone replaced by what means the same now."""
    flags = [word.replace("_", "-") for word in argv]
    translated: list[str] = []
    for word, flag, following in zip(argv, flags, [*flags[1:], "-"], strict=True):
        if flag == "--data.no-normalize":
            translated += ["--data.normalize", _WORLDS[False]]
        elif flag == "--data.normalize" and following.startswith("-"):
            translated += [word, _WORLDS[True]]
        else:
            translated.append(word)
    return translated


def translate_retired(values: MutableMapping[str, Any], where: str) -> None:
    """Replace options that are gone by what means the same now, in place.

    What a run saved before there was an option gets what the run did.

    Raises:
        ConfigError: one that nothing means any more.
    """
    render, strategy, data = (values.get(name) for name in ("render", "strategy", "data"))
    if isinstance(data, dict) and isinstance(data.get("normalize"), bool):
        data["normalize"] = _WORLDS[data["normalize"]]
    if _is_saved(values):
        if not {"near_plane", "near-plane"} & values["render"].keys():
            values["render"]["near_plane"] = GSPLAT_NEAR_PLANE
        values["render"].setdefault("rasterizer", "auto")
    if isinstance(render, dict) and _taken(render, "half_until"):
        raise ConfigError(
            f"{where}: render.half_until is gone; use render.coarse_until, which reduces photos by"
            " 4, 3 and 2, each for its share of their spectrum"
        )
    if isinstance(strategy, dict) and strategy.get("name", "adaptive") == "adaptive":
        late = _taken(strategy, "late_updates")
        if late is not None:
            # It summed 5 and 20 steps, however long the schedule; late_sum scales with it.
            factor = float(values.get("schedule_factor", 1.0))
            strategy.setdefault("late_sum", round(5 / factor) if late else 0)


def _is_saved(values: MutableMapping[str, Any]) -> bool:
    """A run saved it: then every group of options is there, and whole."""
    return all(isinstance(values.get(name), dict) for name in _GROUPS)


def _taken(options: dict[str, Any], name: str) -> Any:
    """The value of an option, which is removed; None where it is not there."""
    value = options.pop(name, None)
    return options.pop(name.replace("_", "-"), None) if value is None else value
