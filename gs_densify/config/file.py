"""Configurations as YAML: save, load, and overrides by dotted name. Imports no torch."""

import dataclasses
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from gs_densify.config.former_options import complete_saved, translate_retired
from gs_densify.config.options import TrainConfig
from gs_densify.config.yaml_text import TextKeepingLoader, read_yaml
from gs_densify.errors import ConfigError
from gs_densify.flags.check import ALWAYS
from gs_densify.flags.parse import parse
from gs_densify.results.files import atomic_write
from gs_densify.results.names import CONFIG
from gs_densify.strategies.plugin import parse_reference

FORMAT = 2
"""Format of saved configurations, in which options that were not asked for stay open (null).

Files of before have no number. They hold the near plane that their run found, too, as if it had
been asked for.
"""

_COMMAND_LINE_ONLY = {flag.lstrip("-") for flag in ALWAYS}
"""What would print, and end the process."""

GROUPS = ("init", "lr", "loss", "render", "data", "evaluation")


@dataclasses.dataclass(frozen=True)
class ConfigFile:
    """What a YAML file says."""

    path: Path
    values: dict[str, Any]
    """Nested options; `strategy` is a mapping of `name` and options, or absent."""
    format: int | None
    """Null where it has no number: written by hand, or saved before there were any."""

    @property
    def is_saved(self) -> bool:
        """Returns whether a run saved it: then all options are there, also those nobody asked
        for.
        """
        return self.format is not None or self.is_old

    @property
    def is_old(self) -> bool:
        """Returns whether a run saved it before formats had a number."""
        groups = [self.values.get(name) for name in GROUPS]
        return self.format is None and all(isinstance(group, dict) for group in groups)


def to_mapping(config: TrainConfig) -> dict[str, Any]:
    """Returns plain, nested values, `strategy` holding name and options together; see `plain`."""
    values = plain(dataclasses.asdict(config))
    options = values.pop("strategy_options")
    values["strategy"] = {"name": values["strategy"], **options}
    return values


def save_config(config: TrainConfig, path: Path) -> None:
    """Writes `config` so that `--config PATH` makes the same run, in another folder."""
    values = {name: value for name, value in to_mapping(config).items() if name != "out"}
    values = {"format": FORMAT, **values}
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    with atomic_write(path) as file:
        file.write(text.encode())


def read_config(path: Path) -> ConfigFile:
    """Reads a YAML file of options.

    Raises:
        ConfigError: it cannot be read, holds something else, or an option that is gone.
    """
    values = _read_yaml(path)
    number = values.pop("format", None)
    if number not in (None, FORMAT):
        raise ConfigError(
            f"{path}: is of format {number}",
            expected=f"this version reads up to {FORMAT}",
            action="update gs-densify",
            option="config",
        )
    if isinstance(values.get("strategy"), str):
        values["strategy"] = {"name": values["strategy"]}
    strategy = values.get("strategy", {})
    if not isinstance(strategy, dict) or not isinstance(strategy.get("name", ""), str):
        raise ConfigError(
            f"{path}: 'strategy' must be a name, or a mapping with 'name'", option="config"
        )
    if "name" in strategy:
        strategy["name"] = _beside(path, strategy["name"])
    translate_retired(values, f"--config {path}")
    return ConfigFile(path, values, number)


def read_mapping(path: Path) -> dict[str, Any]:
    """Returns the options that a run saved, for that same run; see `ConfigFile.values`.

    What it does not have because it was saved before there was the option is what the run did.
    """
    file = read_config(path)
    if file.is_old:
        complete_saved(file.values)
    return file.values


def _read_yaml(path: Path) -> dict[str, Any]:
    values = read_yaml(path, TextKeepingLoader, holds="options", usual=CONFIG, option="config")
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: holds no 'option: value' lines", option="config")
    return values


def _beside(path: Path, strategy: str) -> str:
    """Returns a strategy's file that lies beside the configuration `path`; any other name as it
    is.
    """
    reference = parse_reference(strategy)
    if reference is None or not (path.parent / reference.path).is_file():
        return strategy
    return str(reference._replace(path=path.parent / reference.path))


def from_mapping(
    values: Mapping[str, Any], where: str, *, default: TrainConfig | None = None
) -> TrainConfig:
    """Returns the configuration that `to_mapping` gave; ConfigError says what in `where` does not
    fit.

    Options that are not there are those of `default`, or else the defaults of `TrainConfig`.
    """
    rest = dict(values)
    options = dict(rest.pop("strategy", {}))
    name = options.pop("name", None)
    flags = [*flags_of(rest), *([] if name is None else ["--strategy", str(name)])]
    try:
        config: TrainConfig = parse(TrainConfig, flags, program="gs-train", default=default)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    return dataclasses.replace(config, strategy_options=options)


def flags_of(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Returns a nested mapping as command-line flags, so that files and flags are checked alike.

    Raises:
        ConfigError: a key or a value would ask for something else.
    """
    flags: list[str] = []
    for key, value in values.items():
        name = f"{prefix}{str(key).replace('_', '-')}"
        if name in _COMMAND_LINE_ONLY:
            raise ConfigError(f"'{key}' is for the command line alone")
        for one in value if isinstance(value, list | tuple) else [value]:
            if _looks_like_a_flag(str(one)):
                raise ConfigError(f"is {str(one)!r}", expected="expected a value", option=name)
        if isinstance(value, Mapping):
            flags += flags_of(value, prefix=f"{name}.")
        elif isinstance(value, bool):
            head, _, last = name.rpartition(".")
            negated = f"{head}.no-{last}" if head else f"no-{last}"
            flags.append(f"--{name if value else negated}")
        elif isinstance(value, list | tuple):
            flags += [f"--{name}", *map(str, value)]
        else:
            flags += [f"--{name}", str(value)]
    return flags


def _looks_like_a_flag(value: str) -> bool:
    if not value.startswith("-"):
        return False
    try:
        float(value)
    except ValueError:
        return True
    return False


def by_dotted_name(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns the innermost values of a nested mapping."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}".replace("-", "_")
        flat |= by_dotted_name(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return flat


def with_overrides(config: TrainConfig, overrides: Mapping[str, Any]) -> TrainConfig:
    """Returns `config` with values replaced by dotted name, e.g. {"init.opacity": 0.5}.

    Raises:
        ConfigError: there is no such option, or it does not take such a value.
    """
    for dotted, value in overrides.items():
        config = _replaced(config, str(dotted).split("."), value)
    return config


def _replaced(part: Any, path: list[str], value: Any) -> Any:
    head, *rest = path
    hints = _hints(part.__class__)
    if head not in hints:
        raise ConfigError(f"there is no option '{head}' in {type(part).__name__}")
    if rest:
        value = _replaced(getattr(part, head), rest, value)
    elif not _fits(value, hints[head]):
        raise ConfigError(
            f"option '{head}' of {type(part).__name__} cannot be {value!r}, a"
            f" {type(value).__name__}",
            expected=f"it takes {getattr(hints[head], '__name__', hints[head])}",
        )
    return dataclasses.replace(part, **{head: value})


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _fits(value: Any, hint: Any) -> bool:
    """Returns whether an option of a type takes a value; whole numbers pass for floats."""
    kinds = get_args(hint)
    origin = get_origin(hint)
    if origin is Literal:
        return any(value == one and type(value) is type(one) for one in kinds)
    if origin in (Union, UnionType):
        return any(_fits(value, kind) for kind in kinds)
    if origin is tuple:
        is_open = kinds[-1] is Ellipsis
        items = (kinds[0],) * len(value) if is_open and isinstance(value, tuple | list) else kinds
        return (
            isinstance(value, tuple | list)
            and len(value) == len(items)
            and all(map(_fits, value, items))
        )
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, int | float if hint is float else origin or hint)


def plain(value: Any) -> Any:
    """Returns options as JSON and YAML both have them: lists for tuples, and as text paths and what
    is infinite, which a flag takes as text, too.
    """
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    is_infinite = isinstance(value, float) and value in (math.inf, -math.inf)
    return str(value) if is_infinite or isinstance(value, Path) else value
