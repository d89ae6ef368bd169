"""Means over scenes and spreads over seeds of runs that were scored alike."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gs_densify.errors import ResultError
from gs_densify.results.protocol import MetricRecord, protocol_differences
from gs_densify.results.schema import SCHEMA_VERSION, STANDARD_METRICS
from gs_densify.results.scored import Scored

_SEVEN = ("bicycle", "bonsai", "counter", "garden", "kitchen", "room", "stump")
NAMED_MEANS: Mapping[str, frozenset[str]] = {
    "mean_7": frozenset(_SEVEN),
    "mean_9": frozenset((*_SEVEN, "flowers", "treehill")),
}
"""The two sets of Mip-NeRF 360 scenes that tables average over: 1.5 dB apart for one method."""

NUM_GAUSSIANS = "num_gaussians"
QUANTITIES = (*STANDARD_METRICS, NUM_GAUSSIANS)
"""What every aggregate has; further metrics of the runs stand before the last."""

# Options that change no number, or that the protocol block compares.
_NO_TRAINING = (
    *("seed", "out", "data_root", "device", "evaluation", "protocol", "log_every", "profile"),
    *("data.workers", "data.image_budget"),
)


_SCHEDULED_STEPS = 30_000
"""For which strategies' schedules are made; by default they are scaled to the steps."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A quantity over n seeds. Null where a run lacks it."""

    mean: float | None
    std: float | None
    """Sample standard deviation (n - 1); null for one seed."""
    n: int


@dataclass(frozen=True, kw_only=True)
class SceneRow:
    """One scene over its seeds; keys of `quantities` are metrics and `num_gaussians`."""

    scene: str
    quantities: dict[str, Spread]


@dataclass(frozen=True, kw_only=True)
class MeanRow:
    """The mean over scenes for each seed, over the seeds."""

    name: str
    """`mean_7`, `mean_9`, or `mean` for any other set."""
    scenes: list[str]
    quantities: dict[str, Spread]


@dataclass(frozen=True, kw_only=True)
class Group:
    """The runs of one strategy."""

    strategy: str | None
    steps: int | None
    seeds: list[int | None]
    scenes: list[SceneRow]
    means: list[MeanRow]


@dataclass(frozen=True, kw_only=True)
class Aggregate:
    """`aggregate.json`."""

    protocol: str
    """Name; the whole of it lies in each of `folders`."""
    groups: list[Group]
    folders: list[str]
    metrics: dict[str, MetricRecord] = field(default_factory=dict)
    """As in `Protocol.metrics`."""
    schema_version: int = SCHEMA_VERSION


def aggregate(runs: Sequence[Scored], *, mean: str | None = None) -> Aggregate:
    """Averages runs over scenes and seeds, for each strategy.

    Args:
        runs: one for each strategy, scene and seed.
        mean: `mean_7` or `mean_9`, refused where one of its scenes is missing; by default, where
            the scenes are those of a named mean, it and those of fewer of them, else `mean`.

    Raises:
        ResultError: where runs were not scored or trained alike, one is missing, or one is there
            twice; the text names the folders and what differs.
    """
    if not runs:
        raise ResultError(
            "no run to aggregate",
            action="give the folders of finished runs or evaluations",
        )
    first_of: dict[str, Scored] = {}
    for run in runs:
        _check_alike(runs[0], run)
        _check_alike(first_of.setdefault(run.scene, run), run)
    strategies = sorted({run.strategy or "" for run in runs})
    tables = {name: _table([r for r in runs if (r.strategy or "") == name]) for name in strategies}
    _check_same_scenes(tables)
    metrics = {name: one for run in runs for name, one in run.protocol.metrics.items()}
    quantities = (*STANDARD_METRICS, *metrics, NUM_GAUSSIANS)
    return Aggregate(
        protocol=runs[0].protocol.name,
        groups=[_group(name or None, table, mean, quantities) for name, table in tables.items()],
        folders=[str(run.folder) for run in runs],
        metrics=metrics,
    )


Table = dict[str, dict[int | None, Scored]]
"""Scene, then seed."""


def _check_alike(first: Scored, other: Scored) -> None:
    across = first.scene != other.scene
    contradictions = protocol_differences(first.protocol, other.protocol, across_scenes=across)
    if first.step != other.step:
        contradictions.append(f"steps: {first.step} | {other.step}")
    if contradictions:
        raise ResultError(
            f"{first.folder} and {other.folder} cannot be averaged: {'; '.join(contradictions)}"
        )


def _table(runs: Iterable[Scored]) -> Table:
    """Returns the runs of one strategy by scene and seed, each scene with the same seeds."""
    table: Table = {}
    for run in runs:
        seeds = table.setdefault(run.scene, {})
        if run.seed in seeds:
            raise ResultError(
                f"{seeds[run.seed].folder} and {run.folder} are both of scene {run.scene},"
                f" strategy {run.strategy}, seed {run.seed}",
                action="give one of them",
            )
        for known in seeds.values():
            _check_same_training(known, run)
        seeds[run.seed] = run
    reference, *others = sorted(table)
    for scene in others:
        if table[scene].keys() != table[reference].keys():
            raise ResultError(
                f"scene {reference} has seeds {_listed(table[reference])}, scene {scene}"
                f" {_listed(table[scene])}",
                action="give the same seeds of every scene",
            )
    return {scene: table[scene] for scene in sorted(table)}


def _check_same_training(first: Scored, other: Scored) -> None:
    """Refuses runs that differ in more than the seed, over which a spread is taken.

    An option that only one of them has came with a later release, whose default is what was before.
    """
    a, b = _trained_with(first), _trained_with(other)
    changed = sorted(key for key in a.keys() & b.keys() if a[key] != b[key])
    if changed:
        raise ResultError(
            f"{first.folder} and {other.folder} differ in more than the seed: {', '.join(changed)}"
        )


def _trained_with(run: Scored) -> dict[str, Any]:
    """Returns options of the training, with what was found for those that were left open.

    Earlier versions wrote what was found in their place.
    """
    options = _flat(run.config)
    options["render.near_plane"] = run.protocol.conditions.near_plane
    if options.get("schedule_factor", 1.0) is None:
        options["schedule_factor"] = options["steps"] / _SCHEDULED_STEPS
    return options


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns options of the training by dotted name."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if name in _NO_TRAINING:
            continue
        flat |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat


def _check_same_scenes(tables: Mapping[str, Table]) -> None:
    everything = set().union(*tables.values())
    for name, table in tables.items():
        missing = everything - table.keys()
        if missing:
            raise ResultError(
                f"strategy {name or 'unnamed'} lacks {', '.join(sorted(missing))}, which another"
                " has; means over different scenes are not comparable"
            )


def _group(
    strategy: str | None, table: Table, mean: str | None, quantities: Sequence[str]
) -> Group:
    seeds = list(next(iter(table.values())))
    run = next(iter(table.values()))[seeds[0]]
    return Group(
        strategy=strategy,
        steps=run.step,
        seeds=seeds,
        scenes=[
            SceneRow(
                scene=scene,
                quantities=_spreads(quantities, [[run] for run in by_seed.values()]),
            )
            for scene, by_seed in table.items()
        ],
        means=[
            MeanRow(
                name=name,
                scenes=scenes,
                quantities=_spreads(
                    quantities, [[table[scene][seed] for scene in scenes] for seed in seeds]
                ),
            )
            for name, scenes in _means(table.keys(), mean).items()
        ],
    )


def _means(scenes: Iterable[str], wanted: str | None) -> dict[str, list[str]]:
    """Returns the scenes of each mean that can be formed, or of the one that is wanted."""
    known = set(scenes)
    if wanted is not None:
        missing = sorted(NAMED_MEANS[wanted] - known)
        if missing:
            raise ResultError(
                f"{wanted} needs {', '.join(missing)}, too",
                action="add runs of them",
            )
        return {wanted: sorted(NAMED_MEANS[wanted])}
    if known not in NAMED_MEANS.values():
        return {"mean": sorted(known)}
    return {name: sorted(each) for name, each in NAMED_MEANS.items() if each <= known}


def _spreads(quantities: Sequence[str], seeds: Sequence[Sequence[Scored]]) -> dict[str, Spread]:
    """Returns for each quantity the mean over the runs of a seed, over the seeds."""
    return {name: _spread([_mean(name, runs) for runs in seeds]) for name in quantities}


def _mean(quantity: str, runs: Sequence[Scored]) -> float | None:
    is_size = quantity == NUM_GAUSSIANS
    values = [run.num_gaussians if is_size else run.scores.get(quantity) for run in runs]
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def _spread(values: Sequence[float | None]) -> Spread:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return Spread(mean=None, std=None, n=len(values))
    std = statistics.stdev(known) if len(known) > 1 else None
    return Spread(mean=statistics.fmean(known), std=std, n=len(known))


def _listed(seeds: Iterable[int | None]) -> str:
    return ", ".join(sorted(map(str, seeds)))
