"""Which runs are of one method: its name, its options and its code; seeds differ in nothing else.

A study names its methods (`--label`). Runs without such a name are told apart by the options in
which runs of one strategy on one scene differ: variants of options are methods of their own.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from gs_densify.config.file import to_mapping
from gs_densify.config.options import TrainConfig
from gs_densify.errors import ResultError
from gs_densify.report.runs import Run

# Options that change no number, that name the method or its scene, or that the protocol block says.
_NO_METHOD = (
    *("seed", "label", "out", "data_root", "device", "evaluation", "protocol", "log_every"),
    *("profile", "export", "log_to", "scene", "strategy.name", "data.workers"),
    *("data.image_budget", "data.host_budget", "data.disk_budget", "checkpoint_minutes"),
)
_OF_A_PRESET = ("preset", "budget")
"""Options that say in one word what several others follow from: they name a variant first."""

_FORMER_WORLDS: Mapping[Any, str] = {True: "cameras", False: "none"}
"""`data.normalize` as runs said it before worlds had names."""

_LOSS = "loss."

_SCHEDULED_STEPS = 30_000
"""For which strategies' schedules are made; by default they are scaled to the steps."""


@dataclass(frozen=True, eq=False)
class Method:
    """What a row of a table shows: the runs of one method, a scene and seed each."""

    label: str
    strategy: str | None
    runs: list[Run]
    options: dict[str, Any]
    """Those that all of its runs have in common, by dotted name."""

    def on(self, scene: str) -> list[Run]:
        """Returns its runs on a scene, by seed."""
        found = [run for run in self.runs if run.scene == scene]
        return sorted(found, key=lambda run: -1 if run.seed is None else run.seed)

    @property
    def scenes(self) -> list[str]:
        """Returns the scenes of its runs, by name."""
        return sorted({run.scene for run in self.runs})

    @property
    def codes(self) -> list[str]:
        """Returns the code that made its runs: commits, or versions where no commit is known."""
        return sorted({code_of(run) for run in self.runs})


def methods_of(
    runs: Sequence[Run], *, allow: Collection[str] = (), rename: Sequence[str] = ()
) -> list[Method]:
    """Returns the methods in runs, in the order in which they come first.

    Args:
        runs: with one protocol and the same data on each scene.
        allow: `code`, where seeds that different code has made are to be one method's.
        rename: labels to show in place of those that are found, each as `FOUND=SHOWN`.

    Raises:
        ResultError: where runs of one method and scene differ in more than the seed, or one is
            there twice; the text names them and what differs. Also for a label in `rename` that
            there is not.
    """
    groups: dict[tuple[str | None, str | None], list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.strategy, run.label].append(run)
    methods = [
        Method(label, _name(strategy), members, _common(options))
        for (strategy, label), own in groups.items()
        for label, members, options in _variants(strategy, label, own)
    ]
    methods = _renamed(methods, rename)
    _check_labels(methods)
    for method in methods:
        _check_seeds(method, "code" in allow)
    order = {id(run): position for position, run in enumerate(runs)}
    return sorted(methods, key=lambda method: min(order[id(run)] for run in method.runs))


def training_options(run: Run) -> dict[str, Any]:
    """Returns options of the training by dotted name, with what was found for those left open.

    Earlier versions wrote what was found in their place.
    """
    if not run.config:
        return {}
    options = {**_later_options(), "schedule_factor": 1.0, **_flat(run.config)}
    if options["steps"] == "auto":
        options["steps"] = run.steps
    options["render.near_plane"] = run.protocol.conditions.near_plane
    if options["schedule_factor"] is None:
        options["schedule_factor"] = options["steps"] / _SCHEDULED_STEPS
    world = options["data.normalize"]
    options["data.normalize"] = _FORMER_WORLDS.get(world, world)
    return {name: _rounded(value) for name, value in options.items()}


@cache
def _later_options() -> dict[str, Any]:
    """Returns the trainer's options with their defaults: what runs did before there were such."""
    defaults = _flat(to_mapping(TrainConfig(scene="")))
    return {name: value for name, value in defaults.items() if not name.startswith("strategy.")}


def code_of(run: Run) -> str:
    """Returns the commit that made a run, or else the version; with what its code hashes to, where
    the commit does not say it.
    """
    version = run.protocol.conditions.versions.get("gs_densify") or "unknown"
    if run.code is None:
        return f"version {version}"
    commit = run.code.commit
    if commit is not None and not commit.endswith("+"):
        return commit
    return f"{commit or f'version {version}'}, {run.code.package}"


def varying(options: Iterable[Mapping[str, Any]]) -> list[str]:
    """Returns names of options that all have and that differ between some.

    A strategy's option that only some have came with a later release, whose default is what was
    before. A term of the loss that only some have weighs nothing in the others.
    """
    every = list(options)
    if not every:
        return []
    names = set.intersection(*(set(one) for one in every))
    names |= {name for one in every for name in one if name.startswith(_LOSS)}
    first = every[0]
    return sorted(n for n in names if any(value_of(one, n) != value_of(first, n) for one in every))


def value_of(options: Mapping[str, Any], name: str) -> Any:
    """Returns the value of an option; of a term of the loss that is not there, its weight 0."""
    return options.get(name, 0.0 if name.startswith(_LOSS) else None)


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if name not in _NO_METHOD:
            flat |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat


def _rounded(value: Any) -> Any:
    """Returns a float with the digits that were meant: what a run finds has more."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _name(strategy: str | None) -> str | None:
    """Returns a strategy's name as tables show it: a file's without its folder."""
    return Path(strategy).name if strategy and ".py" in strategy else strategy


def _common(options: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    differ = set(varying(options))
    return {name: value for name, value in options[0].items() if name not in differ}


def _variants(
    strategy: str | None, label: str | None, runs: Sequence[Run]
) -> list[tuple[str, list[Run], list[dict[str, Any]]]]:
    """Returns label, runs and options of each method among the runs of one strategy or label."""
    options = [training_options(run) for run in runs]
    if label is not None:
        return [(label, list(runs), options)]
    by_scene: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run, own in zip(runs, options, strict=True):
        by_scene[run.scene].append(own)
    differ = sorted({name for own in by_scene.values() for name in varying(own)})
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for position, own in enumerate(options):
        groups[tuple(repr(value_of(own, name)) for name in differ)].append(position)
    shown = _telling(differ, list(groups))
    base = _name(strategy) or "model"
    return [
        (
            _label(base, {name: value_of(options[members[0]], name) for name in shown}),
            [runs[i] for i in members],
            [options[i] for i in members],
        )
        for members in groups.values()
    ]


def _telling(names: Sequence[str], groups: Sequence[tuple[str, ...]]) -> list[str]:
    """Returns options, as few as a greedy choice finds, that tell the variants apart."""
    ranked = sorted(names, key=lambda n: (not n.startswith("strategy."), n))
    chosen: list[str] = []
    while len({_values(names, group, chosen) for group in groups}) < len(groups):
        rest = [name for name in ranked if name not in chosen]

        def told_apart(name: str) -> int:
            return len({_values(names, group, [*chosen, name]) for group in groups})

        known = told_apart(chosen[0]) if chosen else 1
        first = next((n for n in rest if n in _OF_A_PRESET and told_apart(n) > known), None)
        chosen.append(first or max(rest, key=told_apart))
    return chosen


def _values(names: Sequence[str], group: tuple[str, ...], chosen: Sequence[str]) -> tuple[str, ...]:
    return tuple(group[names.index(name)] for name in chosen)


def _label(base: str, values: Mapping[str, Any]) -> str:
    parts = [
        str(value) if name == "preset" and value else f"{name.removeprefix('strategy.')}={value}"
        for name, value in values.items()
        if not (name in _OF_A_PRESET and value is None)
    ]
    return f"{base} ({', '.join(parts)})" if parts else base


def _renamed(methods: Sequence[Method], pairs: Sequence[str]) -> list[Method]:
    labels = {method.label: method.label for method in methods}
    for pair in pairs:
        # Labels have equals signs of their own: the first part is the longest that is a label.
        found = [label for label in labels if pair.startswith(f"{label}=")]
        shown = pair[len(max(found, key=len)) + 1 :].strip() if found else ""
        if not shown:
            known = ", ".join(f"'{label}'" for label in labels)
            raise ResultError(
                f"has '{pair}'", expected=f"LABEL=NEW with one of {known}", option="rename"
            )
        labels[max(found, key=len)] = shown
    return [replace(method, label=labels[method.label]) for method in methods]


def _check_labels(methods: Sequence[Method]) -> None:
    """Refuses two methods with one name."""
    first: dict[str, Method] = {}
    for method in methods:
        other = first.setdefault(method.label, method)
        if other is not method:
            raise ResultError(
                f"{other.runs[0].path} and {method.runs[0].path} are both called '{method.label}',"
                " but differ in strategy, or in having a label of their own",
                action="leave one of them out, or train it with another gs-train --label",
            )


def _check_seeds(method: Method, allow_code: bool) -> None:
    for scene in method.scenes:
        seeds: dict[int | None, Run] = {}
        for run in method.on(scene):
            if run.seed in seeds:
                raise ResultError(
                    f"{seeds[run.seed].path} and {run.path} are both of scene {scene},"
                    f" '{method.label}', seed {run.seed}",
                    action="give one of them",
                )
            seeds[run.seed] = run
        first, *others = seeds.values()
        for run in others:
            changed = varying([training_options(first), training_options(run)])
            if changed:
                raise ResultError(
                    f"{first.path} and {run.path} differ in more than the seed:"
                    f" {', '.join(changed)}",
                    action="give them other labels",
                )
    found = None if allow_code else differing_code(method)
    if found is not None:
        first, other, what = found
        raise ResultError(
            f"{first.path} and {other.path} are both of '{method.label}', but {what}",
            action="train one of them again, give them other labels, or add --allow code",
        )


def differing_code(method: Method) -> tuple[Run, Run, str] | None:
    """Returns two runs of a method that different code has made, and how it differs."""
    references = [method.runs[0]]
    for run in method.runs:
        if run.code is not None and all(one.code is None for one in references):
            references.append(run)
        for first in references:
            what = _differing_code(first, run)
            if what is not None:
                return first, run, what
    return None


def _differing_code(first: Run, other: Run) -> str | None:
    """Returns in which code two runs differ; None where nothing tells that they do."""
    a, b = first.code, other.code
    if a is not None and b is not None:
        if a.strategy != b.strategy:
            return f"the strategy's source differs ({a.strategy} | {b.strategy})"
        if a.package != b.package:
            return f"gs_densify's source differs ({code_of(first)} | {code_of(other)})"
        return None
    versions = [run.protocol.conditions.versions.get("gs_densify") for run in (first, other)]
    if versions[0] != versions[1]:
        return f"gs_densify's version differs ({versions[0]} | {versions[1]})"
    return None
