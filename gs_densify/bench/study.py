"""A study as its file and the flags say it: scenes, methods, seeds, presets, and what is varied."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from gs_densify.bench.values import count_of, known_keys, seconds_of, values_of
from gs_densify.config.file import by_dotted_name
from gs_densify.config.options import PresetName
from gs_densify.errors import ConfigError
from gs_densify.home import expanded
from gs_densify.scene.presets import PRESETS
from gs_densify.strategies.plugin import parse_reference

DEFAULT_SEEDS = (42,)
KEYS = (
    *("scenes", "methods", "seeds", "presets", "budget", "options", "changes", "sweeps"),
    *("retries", "timeout"),
)
_METHOD_KEYS = ("strategy", "preset", "seeds", "options")
_TAKEN = {
    **{name: f"the study's '{name}s'" for name in ("scene", "seed", "preset")},
    **{name: "the study's 'methods'" for name in ("strategy", "strategy.name")},
    **{name: "gs-bench itself" for name in ("out", "config", "resume", "dry_run", "help", "h")},
    "budget": "the study's 'budget'",
    "label": "the labels of the study's 'methods' and 'changes'",
}
"""Options of gs-train that an `options` mapping cannot set, and what does."""

Options = Mapping[str, Any]
"""Options of gs-train by dotted name."""


@dataclasses.dataclass(frozen=True)
class SceneEntry:
    """A scene under the name that folders and tables have."""

    label: str
    scene: str
    """As --scene of gs-train takes it."""
    options: Options
    place: str
    """Where the study says so, for messages."""


@dataclasses.dataclass(frozen=True)
class Method:
    """A strategy with options of its own, under a label."""

    label: str
    strategy: str
    preset: str | None
    seeds: tuple[int, ...] | None
    """None: the study's."""
    options: Options
    place: str


@dataclasses.dataclass(frozen=True)
class Change:
    """Options on top of every method's, which make rows of their own."""

    label: str
    options: Options
    place: str


@dataclasses.dataclass(frozen=True)
class Study:
    """What is asked for; see docs/studies.md."""

    scenes: tuple[SceneEntry, ...]
    methods: tuple[Method, ...]
    seeds: tuple[int, ...] = DEFAULT_SEEDS
    presets: tuple[str, ...] = ()
    budget: int | None = None
    options: Options = dataclasses.field(default_factory=dict)
    over_options: Options = dataclasses.field(default_factory=dict)
    """Of the flag, which count for more than those of scenes and methods."""
    changes: tuple[Change, ...] = ()
    sweeps: tuple[Change, ...] = ()
    retries: int = 1
    """Further attempts at a cell that failed."""
    timeout: float | None = None
    """Seconds of one attempt."""
    where: str = "study"
    """Its file, for messages."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Overrides:
    """What flags say of a study; None, or nothing: what the file says."""

    scenes: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    presets: tuple[str, ...] = ()
    budget: str | None = None
    options: Options = dataclasses.field(default_factory=dict)
    retries: int | None = None
    timeout: str | None = None


def parse_study(values: Any, where: str, folder: Path) -> Study:
    """Returns the study that a YAML file holds.

    Args:
        values: what the file holds.
        where: the file, for messages.
        folder: to which paths in it are relative.

    Raises:
        ConfigError: in one line with the place, whatever is wrong.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: holds no 'key: value' lines", expected=f"known: {_listed()}")
    known_keys(values, KEYS, where)
    given = {key: value for key, value in values.items() if value is not None}
    study = Study(
        scenes=_scenes(given.get("scenes", []), f"{where}: scenes", folder),
        methods=_methods(given.get("methods", []), f"{where}: methods", folder),
        where=where,
    )
    found = {
        key: read(given[key], f"{where}: {key}") for key, read in _READ.items() if key in given
    }
    return dataclasses.replace(study, **found)


def with_overrides(study: Study, flags: Overrides, folder: Path) -> Study:
    """Returns the study with what flags say instead; their names of scenes and methods choose among
    those of the file, or add others.

    Args:
        study: of the file.
        flags: what the command line says.
        folder: to which their paths are relative.
    """
    found: dict[str, Any] = {}
    if flags.scenes:
        known = {entry.label: entry for entry in study.scenes}
        others = _scenes([n for n in flags.scenes if n not in known], "--scenes", folder)
        chosen = _in_order(flags.scenes, known, others)
        found["scenes"] = _distinct(chosen, "--scenes")
    if flags.methods:
        named = {entry.label: entry for entry in study.methods}
        new = _methods([n for n in flags.methods if n not in named], "--methods", folder)
        found["methods"] = _distinct(_in_order(flags.methods, named, new), "--methods")
    if flags.seeds:
        # Else a method of the file with seeds of its own would not follow the flag.
        methods = found.get("methods", study.methods)
        found["methods"] = tuple(dataclasses.replace(one, seeds=None) for one in methods)
        found["seeds"] = _seeds(list(flags.seeds), "--seeds")
    if flags.presets:
        methods = found.get("methods", study.methods)
        found["methods"] = tuple(dataclasses.replace(one, preset=None) for one in methods)
        found["presets"] = _presets(list(flags.presets), "--presets")
    for key in ("budget", "retries", "timeout"):
        value = getattr(flags, key)
        if value is not None:
            found[key] = _READ[key](value, f"--{key}")
    return dataclasses.replace(study, **found, over_options=_options(flags.options, "--options"))


def to_mapping(study: Study) -> dict[str, Any]:
    """Returns what a YAML file would say to give the same study, from any folder."""
    values: dict[str, Any] = {
        "scenes": {one.label: {"scene": one.scene, **one.options} for one in study.scenes},
        "methods": {
            one.label: {
                "strategy": one.strategy,
                "preset": one.preset,
                "seeds": None if one.seeds is None else list(one.seeds),
                "options": {**one.options, **study.over_options},
            }
            for one in study.methods
        },
        "seeds": list(study.seeds),
        "presets": list(study.presets),
        "budget": study.budget,
        "options": dict(study.options),
        "changes": {one.label: dict(one.options) for one in study.changes},
        "sweeps": _swept(study.sweeps),
        "retries": study.retries,
        "timeout": study.timeout,
    }
    for method in values["methods"].values():
        for key in [key for key, value in method.items() if value is None or value == {}]:
            del method[key]
    return {key: value for key, value in values.items() if value not in (None, {}, [])}


def _swept(sweeps: Iterable[Change]) -> dict[str, list[Any]]:
    values: dict[str, list[Any]] = {}
    for one in sweeps:
        for name, value in one.options.items():
            values.setdefault(name, []).append(value)
    return values


def slug(text: str) -> str:
    """Returns a label as the name of a folder."""
    return re.sub(r"[^\w.=-]+", "_", text).strip("_.") or "_"


def _listed() -> str:
    return ", ".join(KEYS)


Entry = TypeVar("Entry", SceneEntry, Method)


def _in_order(
    names: tuple[str, ...], known: Mapping[str, Entry], others: tuple[Entry, ...]
) -> list[Entry]:
    rest = iter(others)
    return [known[name] if name in known else next(rest) for name in names]


def _entries(value: Any, place: str, form: str) -> list[tuple[str, Any, str]]:
    """Returns names with what stands behind them, and the place of each."""
    if isinstance(value, Mapping):
        pairs = list(value.items())
    elif isinstance(value, list):
        pairs = [(name, None) for name in value]
    else:
        raise ConfigError(f"{place}: {value!r} is no list", expected=f"names, or {form}")
    for name, _ in pairs:
        if not isinstance(name, str) or not name.strip():
            raise ConfigError(f"{place}: {name!r} is no name", expected="text")
    return [(name, inner, f"{place}: {name}") for name, inner in pairs]


def _scenes(value: Any, place: str, folder: Path) -> tuple[SceneEntry, ...]:
    form = "NAME: {options of gs-train}"
    found = []
    for name, inner, inside in _entries(value, place, form):
        options = dict(_mapping(inner, inside, form))
        scene = options.pop("scene", name)
        if not isinstance(scene, str):
            raise ConfigError(f"{inside}: scene is {scene!r}", expected="a preset or a folder")
        label = (Path(name).name or name) if "/" in name else name
        path = _from(folder, scene)
        resolved = str(path) if scene not in PRESETS and path.is_dir() else scene
        found.append(SceneEntry(label, resolved, _options(options, inside), inside))
    return _distinct(found, place)


def _methods(value: Any, place: str, folder: Path) -> tuple[Method, ...]:
    form = "LABEL: {strategy: NAME, preset: NAME, seeds: [...], options: {...}}"
    found = []
    for name, inner, inside in _entries(value, place, form):
        given = _mapping(inner, inside, form)
        known_keys(given, _METHOD_KEYS, inside)
        strategy = given.get("strategy") or name
        if not isinstance(strategy, str):
            raise ConfigError(f"{inside}: strategy is {strategy!r}", expected="a name or a file")
        preset, seeds = given.get("preset"), given.get("seeds")
        found.append(
            Method(
                label=Path(name).stem if parse_reference(name) is not None else name,
                strategy=_strategy(strategy, folder),
                preset=None if preset is None else _presets([preset], f"{inside}: preset")[0],
                seeds=None if seeds is None else _seeds(seeds, f"{inside}: seeds"),
                options=_options(given.get("options"), f"{inside}: options"),
                place=inside,
            )
        )
    return _distinct(found, place)


def _strategy(name: str, folder: Path) -> str:
    reference = parse_reference(name)
    if reference is None:
        return name
    return str(reference._replace(path=_from(folder, str(reference.path))))


def _from(folder: Path, path: str) -> Path:
    return folder.absolute() / expanded(path)


def _distinct(entries: list[Any], place: str) -> tuple[Any, ...]:
    folders: dict[str, str] = {}
    for entry in entries:
        name = slug(entry.label)
        if name in folders:
            both = "twice" if folders[name] == entry.label else f"beside {folders[name]!r}"
            raise ConfigError(
                f"{place}: {entry.label!r} is there {both}",
                expected="every one needs a label, and so a folder, of its own",
                action="write LABEL: {...} with different labels",
            )
        folders[name] = entry.label
    return tuple(entries)


def _seeds(value: Any, place: str) -> tuple[int, ...]:
    if not isinstance(value, list) or not value:
        raise ConfigError(f"{place}: {value!r} is no list", expected="whole numbers, e.g. [42, 1]")
    for seed in value:
        if type(seed) is not int or not 0 <= seed < 2**32:
            raise ConfigError(f"{place}: {seed!r}", expected="whole numbers from 0 to 2^32 - 1")
    return _without_repeats(value, place)


def _presets(value: Any, place: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ConfigError(f"{place}: {value!r} is no list", expected="names, e.g. [fast]")
    for name in value:
        if name not in get_args(PresetName):
            raise ConfigError(
                f"{place}: {name!r}", expected=f"known: {', '.join(get_args(PresetName))}"
            )
    return _without_repeats(value, place)


def _without_repeats(values: list[Any], place: str) -> tuple[Any, ...]:
    for i, value in enumerate(values):
        if value in values[:i]:
            raise ConfigError(f"{place}: {value} is there twice", action="leave one out")
    return tuple(values)


def _mapping(value: Any, place: str, form: str) -> Mapping[Any, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigError(f"{place}: {value!r} is no mapping", expected=form)
    return value


def _options(value: Any, place: str) -> Options:
    """Returns options by dotted name; ConfigError for those that the study itself sets."""
    found = by_dotted_name(_mapping(value, place, "options of gs-train: {OPTION: VALUE}"))
    for name, one in found.items():
        if name in _TAKEN:
            raise ConfigError(f"{place}: '{name}' is set by {_TAKEN[name]}", action="leave it out")
        items = one if isinstance(one, list) else [one]
        if any(isinstance(item, list | Mapping) for item in items):
            raise ConfigError(f"{place}: {name} is {one!r}", expected="a value, or a flat list")
    return found


def _changes(value: Any, place: str) -> tuple[Change, ...]:
    form = "LABEL: {OPTION: VALUE}"
    if not isinstance(value, Mapping):
        raise ConfigError(f"{place}: {value!r} is no mapping", expected=form)
    found = [
        Change(label, _options(inner, inside), inside)
        for label, inner, inside in _entries(value, place, form)
    ]
    for change in found:
        if not change.options:
            raise ConfigError(f"{change.place}: changes nothing", expected=form)
    return _distinct(found, place)


def _sweeps(value: Any, place: str) -> tuple[Change, ...]:
    form = "OPTION: [values]"
    if not isinstance(value, Mapping):
        raise ConfigError(f"{place}: {value!r} is no mapping", expected=form)
    found = []
    for name, inner, inside in _entries(value, place, form):
        for one in values_of(inner, inside):
            label = f"{name}={_text(one)}"
            found.append(Change(label, _options({name: one}, inside), f"{inside}: {_text(one)}"))
    return _distinct(found, place)


def _text(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


def _retries(value: Any, place: str) -> int:
    if type(value) is not int or not 0 <= value <= 100:
        raise ConfigError(f"{place}: {value!r}", expected="a whole number from 0 to 100")
    return value


_READ: Mapping[str, Callable[[Any, str], Any]] = {
    "seeds": _seeds,
    "presets": _presets,
    "budget": count_of,
    "options": _options,
    "changes": _changes,
    "sweeps": _sweeps,
    "retries": _retries,
    "timeout": seconds_of,
}
