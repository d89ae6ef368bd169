"""Options that earlier versions had, or had not yet, in what they saved. Imports no torch."""

from collections.abc import MutableMapping, Sequence
from typing import Any

from gs_densify.errors import ConfigError
from gs_densify.results.protocol import GSPLAT_NEAR_PLANE

_WORLDS = {True: "cameras", False: "none"}
"""What --data.normalize and --data.no-normalize meant before worlds had names."""


def translate_retired_flags(argv: Sequence[str]) -> list[str]:
    """Returns the arguments with flags that are gone replaced by what means the same now."""
    flags = [word.replace("_", "-") for word in argv]
    translated: list[str] = []
    for word, flag, following in zip(argv, flags, [*flags[1:], "-"], strict=False):
        if flag == "--data.no-normalize":
            translated += ["--data.normalize", _WORLDS[False]]
        elif flag == "--data.normalize" and following.startswith("-"):
            translated += [word, _WORLDS[True]]
        else:
            translated.append(word)
    return translated


def translate_retired(values: MutableMapping[str, Any], where: str) -> None:
    """Replaces options that are gone by what means the same now, in place.

    Raises:
        ConfigError: one that nothing means any more.
    """
    render, strategy, data = (values.get(name) for name in ("render", "strategy", "data"))
    if isinstance(data, dict) and isinstance(data.get("normalize"), bool):
        data["normalize"] = _WORLDS[data["normalize"]]
    if isinstance(render, dict) and _taken(render, "half_until"):
        raise ConfigError(
            f"{where}: render.half_until is gone",
            action="use render.coarse_until, which reduces photos by 4, 3 and 2, each for its share"
            " of their spectrum",
        )
    if isinstance(strategy, dict) and strategy.get("name", "adaptive") == "adaptive":
        late = _taken(strategy, "late_updates")
        if late is not None:
            # It summed 5 and 20 steps, however long the schedule; late_sum scales with it.
            factor = float(values.get("schedule_factor") or 1.0)
            strategy.setdefault("late_sum", round(5 / factor) if late else 0)


def complete_saved(values: MutableMapping[str, Any]) -> None:
    """Gives the options of a run that was saved before there were some what the run did, in place.

    `values` are those of `config.file.to_mapping`.
    """
    render = values.setdefault("render", {})
    if not {"near_plane", "near-plane"} & render.keys():
        render["near_plane"] = GSPLAT_NEAR_PLANE  # with which every run was rendered then
    render.setdefault("rasterizer", "auto")
    values.setdefault("evaluation", {}).setdefault("metrics", [])
    values.setdefault("modules", [])
    values.setdefault("export", ["ply"])
    values.setdefault("log_to", [])


def _taken(options: dict[str, Any], name: str) -> Any:
    """Returns the value of an option, which is removed; None where it is not there."""
    value = options.pop(name, None)
    return options.pop(name.replace("_", "-"), None) if value is None else value
