"""Options that bring settings of others with them, and what a --config file says beside others.

A run saves all of its options. Used for another scene, strategy, protocol, preset or factor, its
file gives what the run was asked for, and not what its own ones had brought.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from gs_densify.config.file import ConfigFile, by_dotted_name, from_mapping, to_mapping
from gs_densify.config.layers import full_length, strategy_defaults, trainer_defaults
from gs_densify.config.options import TrainConfig
from gs_densify.errors import ConfigError
from gs_densify.flags.values import whole_number
from gs_densify.results.protocol import GSPLAT_NEAR_PLANE
from gs_densify.scene.presets import whole_name
from gs_densify.strategies.plugin import parse_reference
from gs_densify.strategies.registry import load_strategy_class, options_of, recipe_of

CHOICES = ("scene", "strategy", "protocol", "preset", "downscale", "gpus")
"""The names of these options."""

_NO_SCENE = "(required)"


def choices_in(values: Mapping[str, Any]) -> dict[str, str]:
    """Returns the choices that a file makes, as texts, and the defaults of those that have one."""
    made = {name: values.get(name) for name in CHOICES}
    made["strategy"] = values.get("strategy", {}).get("name")
    for name in ("strategy", "protocol", "gpus"):
        made[name] = made[name] or _default_of(name)
    return {name: str(value) for name, value in made.items() if value is not None}


def brought(
    choices: Mapping[str, str], strategy_class: type, *, has_budget: bool = False
) -> TrainConfig:
    """Returns the options that choices bring, before any other is given.

    With `has_budget`, of --budget, a preset brings no limit of its own.
    """
    return trainer_defaults(
        choices.get("scene", _NO_SCENE),
        strategy_class,
        recipe=recipe_of(choices["strategy"], strategy_class),
        protocol=choices["protocol"],
        preset=choices.get("preset"),
        downscale=_whole(choices.get("downscale")),
        gpus=_whole(choices.get("gpus")) or 1,
        has_budget=has_budget,
    )


def for_choices(file: ConfigFile, given: Mapping[str, str]) -> tuple[ConfigFile, list[str]]:
    """Returns what a file says beside the choices on the command line, and remarks on what it does
    not.
    """
    file = _without_fitted_factor(file)
    own = choices_in(file.values)
    other = {n: value for n, value in given.items() if not _is_same(n, own.get(n), value)}
    if not other:
        return file, []
    return _asked_for(file, own, other) if file.is_saved else _without_options(file, own, other)


def _asked_for(
    file: ConfigFile, own: Mapping[str, str], other: Mapping[str, str]
) -> tuple[ConfigFile, list[str]]:
    """Returns all that the own choices of a saved file do not bring."""
    cls = load_strategy_class(own["strategy"])
    options = options_of(strategy_defaults(own["scene"], cls))
    base = brought(own, cls, has_budget=file.values.get("budget") is not None)
    base = dataclasses.replace(base, strategy_options=options)
    config = from_mapping(file.values, str(file.path), default=base)
    dropped = (*CHOICES, "strategy.name")
    if own.get("downscale") == str(_brought_factor(own, cls)):
        own = {name: value for name, value in own.items() if name != "downscale"}
    asked = {
        name: value
        for name, value in _changed(to_mapping(base), to_mapping(config)).items()
        if name not in dropped and not (name.startswith("strategy.") and "strategy" in other)
    }
    before = ", ".join(f"{name} {own.get(name, 'None')}" for name in other)
    now = " ".join(f"--{name} {value}" for name, value in other.items())
    remark = (
        f"{now}: of {file.path} only what did not come with {before} is taken over:"
        f" {', '.join(asked) or 'nothing'}"
    )
    choices = {name: value for name, value in own.items() if name not in (*other, "strategy")}
    strategy = {"name": other.get("strategy", own["strategy"])}
    values = {**choices, **asked, "strategy": strategy}
    return dataclasses.replace(file, values=values), [remark]


def _brought_factor(choices: Mapping[str, str], strategy_class: type) -> int | None:
    """Returns the downscale that the other choices bring."""
    others = {name: value for name, value in choices.items() if name != "downscale"}
    return brought(others, strategy_class).downscale


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of `after` that `before` has with another value, by dotted name."""
    old, new = by_dotted_name(before), by_dotted_name(after)
    return {name: value for name, value in new.items() if name in old and value != old[name]}


def _without_options(
    file: ConfigFile, own: Mapping[str, str], other: Mapping[str, str]
) -> tuple[ConfigFile, list[str]]:
    """Returns a file written by hand without the options of its strategy, where that is not the
    one.
    """
    options = [name for name in file.values.get("strategy", {}) if name != "name"]
    names_one = len(options) < len(file.values.get("strategy", {}))
    if "strategy" not in other or not names_one or not options:
        return file, []
    remark = (
        f"--strategy {other['strategy']}: options of strategy {own['strategy']} in {file.path} are"
        f" left out: {', '.join(options)}"
    )
    values = {name: value for name, value in file.values.items() if name != "strategy"}
    return dataclasses.replace(file, values=values), [remark]


def _is_same(choice: str, own: str | None, given: str) -> bool:
    """Returns whether a choice is the file's own; a strategy's file may be the original of a
    copy, and a scene's folder be named in two ways.
    """
    if choice == "scene" and own is not None:
        return whole_name(own) == whole_name(given)
    if choice != "strategy" or own is None:
        return str(own) == given
    first, second = parse_reference(own), parse_reference(given)
    if first is None or second is None:
        return own == given
    return (first.path.name, first.class_name) == (second.path.name, second.class_name)


def _without_fitted_factor(file: ConfigFile) -> ConfigFile:
    """Returns an old file without the factor that fits the schedule to the steps: none was asked
    for.
    """
    values = file.values
    factor, steps = values.get("schedule_factor"), values.get("steps")
    if not (file.is_old and isinstance(factor, float) and isinstance(steps, int)):
        return file
    choices = choices_in(values)
    recipe = recipe_of(choices["strategy"], load_strategy_class(choices["strategy"]))
    if not math.isclose(factor, steps / full_length(recipe, choices["protocol"])):
        return file
    return dataclasses.replace(file, values=values | {"schedule_factor": None})


def near_plane_remarks(file: ConfigFile, config: TrainConfig) -> list[str]:
    """Returns what is to be said of an old file, in which what was found looks as what was asked
    for.

    `config` is what has become of it and of the command line.
    """
    name, used = "render.near_plane", config.render.near_plane
    in_file = by_dotted_name(file.values)
    if not file.is_old:
        return []
    if used is None and name not in in_file:
        return [
            f"{file.path} was saved before there was --render.near-plane: its run drew from"
            f" {GSPLAT_NEAR_PLANE} on, this one from where the scene says"
            f" (--render.near-plane {GSPLAT_NEAR_PLANE}: as then)"
        ]
    if used is None or used != in_file.get(name) or used == _brought_by(file).render.near_plane:
        return []
    return [
        f"{file.path} was saved by a version that also saved the near plane that it had found:"
        f" {used} is taken over (--render.near-plane None: by the scene)"
    ]


def _brought_by(file: ConfigFile) -> TrainConfig:
    """Returns the options that a file's own choices bring."""
    choices = choices_in(file.values)
    return brought(choices, load_strategy_class(choices["strategy"]))


def without_limit_of_preset(file: ConfigFile) -> ConfigFile:
    """Returns a saved file without the limit that its preset brought, for a run with a budget."""
    limit = file.values.get("max_gaussians")
    if not file.is_saved or limit is None or limit != _brought_by(file).max_gaussians:
        return file
    return dataclasses.replace(file, values=file.values | {"max_gaussians": None})


def check_not_taken_back(
    file: ConfigFile,
    choices: Mapping[str, str],
    given: Mapping[str, str],
    strategy_class: type,
    *,
    has_budget: bool = False,
) -> None:
    """Refuses a --protocol or --preset of the command line of which a file takes a setting back.

    Args:
        file: what is taken over of it.
        choices: of the file and the command line together.
        given: those of the command line.
        strategy_class: of the strategy among `choices`.
        has_budget: whether there is a --budget, beside which a preset brings no limit.

    Raises:
        ConfigError: the file sets to something else what one of them brings.
    """
    chosen = {name: given[name] for name in ("protocol", "preset") if name in given}
    if not chosen:
        return
    without = {name: value for name, value in choices.items() if name not in chosen}
    own = choices_in(file.values)
    before = without | {name: own[name] for name in chosen if name in own}
    plain, wanted = (
        by_dotted_name(to_mapping(brought(one, strategy_class, has_budget=has_budget)))
        for one in (before, choices)
    )
    in_file = by_dotted_name(file.values)
    for name, value in wanted.items():
        is_chosen = name not in chosen and value != plain[name]
        if (name, in_file.get(name)) == ("steps", "auto"):
            continue  # which shortens what they bring
        if is_chosen and in_file.get(name, value) != value:
            flags = " ".join(f"--{choice} {of}" for choice, of in chosen.items())
            raise ConfigError(
                f"{flags} makes {name} {value}, but {file.path} sets it to {in_file[name]}",
                action="remove that line from the file, or leave the option out",
            )


def _whole(text: str | None) -> int | None:
    """Returns `text` as a number; None where it is none, which is for the parser to say."""
    try:
        return whole_number(text or "")
    except ValueError:
        return None


def _default_of(name: str) -> Any:
    return next(f.default for f in dataclasses.fields(TrainConfig) if f.name == name)
