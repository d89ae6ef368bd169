"""The runs that a report is made of: folders of runs, evaluations, and records."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gs_densify.errors import ResultError
from gs_densify.results import (
    CodeRecord,
    DataRecord,
    MetricsRow,
    Protocol,
    Results,
    Scores,
    ViewScores,
    load_evaluation,
    load_results,
    read_metrics,
)
from gs_densify.results.names import CONFIG, EVALUATION, METRICS, RENDERS, RESULTS
from gs_densify.results.record import SUFFIX, RecordFile
from gs_densify.results.scored import is_scored
from gs_densify.results.views import load_views

SKIPPED = ("superseded", "compat", "checkpoints", RENDERS)
"""Folders that a search does not enter: what a study has set aside, and parts of a run."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """A model, scored once: by gs-train at the end of a run, or by gs-eval."""

    path: Path
    """Its folder, or the file of its record."""
    scene: str
    strategy: str | None
    """Null where the model is no run's."""
    seed: int | None
    steps: int | None
    config: dict[str, Any]
    protocol: Protocol
    scores: Scores
    num_gaussians: int
    results: Results | None
    """Null for an evaluation, which knows neither times nor memory."""
    code: CodeRecord | None = None
    data: DataRecord | None = None
    read_views: Callable[[], list[ViewScores]]
    read_timeline: Callable[[], list[MetricsRow]]

    @property
    def label(self) -> str | None:
        """Returns what the run was called, where it was given a name."""
        return self.config.get("label")

    @cached_property
    def views(self) -> list[ViewScores]:
        """Returns the scores of the held-out views; ResultError where they cannot be read."""
        return self.read_views()

    @cached_property
    def timeline(self) -> list[MetricsRow]:
        """Returns the lines of `metrics.jsonl`; ResultError where they cannot be read."""
        return self.read_timeline()

    @property
    def pictures(self) -> Path | None:
        """Returns the folder with pictures of held-out views, where the run has one."""
        folder = self.path / RENDERS
        return folder if folder.is_dir() else None

    @property
    def train_seconds(self) -> float | None:
        """Returns the time spent training; null for an evaluation."""
        return None if self.results is None else self.results.wall_time.train

    @property
    def device_bytes(self) -> int | None:
        """Returns the peak of GPU memory; null where none was used, or it is not known."""
        return None if self.results is None else self.results.peak_memory.device


@dataclass(frozen=True)
class Unfinished:
    """A run that has no results yet, or never will."""

    path: Path
    step: int | None
    """Of its last line in `metrics.jsonl`; null where there is none."""


@dataclass(frozen=True)
class Found:
    """What lies in the places that were named."""

    runs: list[Run]
    unfinished: list[Unfinished]


def find_runs(places: Sequence[Path]) -> Found:
    """Returns the runs in folders and files: each place is one, or is searched for them.

    Evaluations inside of runs are taken only where they are named themselves.

    Raises:
        ResultError: a place is missing or holds no run, or a file is damaged.
    """
    runs: dict[Path, Run] = {}
    unfinished: dict[Path, Unfinished] = {}
    for place in places:
        try:
            found = list(_found_at(place))
        except OSError as error:
            where = error.filename or place
            raise ResultError(f"{where}: cannot be read ({error.strerror})") from None
        if not found:
            raise ResultError(
                f"{place}: holds no {RESULTS} or *{SUFFIX}",
                action="give folders of runs, or folders in which they lie; an evaluation has to be"
                " named itself",
            )
        for path in found:
            key = Path(os.path.realpath(path))
            if path.is_file() or is_scored(path):
                runs.setdefault(key, load_run(path))
            else:
                unfinished.setdefault(key, Unfinished(path, _last_step(path / METRICS)))
    return Found(list(runs.values()), list(unfinished.values()))


def load_run(path: Path) -> Run:
    """Reads one run: its folder, that of an evaluation, or a record.

    Raises:
        ResultError: a file is missing or damaged.
    """
    if path.is_file():
        file = RecordFile(path)
        return _of_results(path, file.results, file.views, file.timeline)
    if (path / RESULTS).is_file():
        results = load_results(path / RESULTS)
        return _of_results(
            path,
            results,
            lambda: load_views(path, results),
            lambda: read_metrics(path / METRICS),
        )
    return _of_evaluation(path)


def _of_results(
    path: Path,
    results: Results,
    views: Callable[[], list[ViewScores]],
    timeline: Callable[[], list[MetricsRow]],
) -> Run:
    return Run(
        path=path,
        scene=results.scene,
        strategy=results.strategy.name,
        seed=results.seed,
        steps=results.steps,
        config=results.config,
        protocol=results.protocol,
        scores=results.scores,
        num_gaussians=results.counts.final,
        results=results,
        code=results.code,
        data=results.data,
        read_views=views,
        read_timeline=timeline,
    )


def _of_evaluation(path: Path) -> Run:
    found = load_evaluation(path / EVALUATION)
    return Run(
        path=path,
        scene=found.scene,
        strategy=found.strategy,
        seed=found.seed,
        steps=found.step,
        config=found.config,
        protocol=found.protocol,
        scores=found.scores,
        num_gaussians=found.num_gaussians,
        results=None,
        code=found.code,
        data=found.data,
        read_views=lambda: load_views(path, found),
        read_timeline=list,
    )


def _found_at(place: Path) -> Iterator[Path]:
    if not place.exists():
        raise ResultError(f"{place}: there is no such file or folder", action="name a run's folder")
    if place.is_file():
        yield place.parent if place.name in (RESULTS, EVALUATION) else place
    elif is_scored(place):
        yield place
    else:
        yield from _search(place)


def _search(folder: Path) -> Iterator[Path]:
    """Yields runs, finished or not, and records below a folder, by name."""
    if (folder / RESULTS).is_file() or (folder / CONFIG).is_file():
        yield folder
        return
    entries = sorted(folder.iterdir())
    yield from (path for path in entries if path.name.endswith(SUFFIX) and path.is_file())
    for path in entries:
        if path.is_dir() and path.name not in SKIPPED and not path.is_symlink():
            yield from _search(path)


def _last_step(log: Path) -> int | None:
    """Returns the step of the last whole line of a time line, which may still be written to."""
    try:
        lines = log.read_bytes().splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        try:
            step = json.loads(line)["step"]
        except (ValueError, LookupError, TypeError):
            continue
        return step if type(step) is int else None
    return None
