"""How long methods train until held-out views are as good as given marks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gs_densify.errors import ResultError
from gs_densify.report.methods import Method
from gs_densify.report.runs import Run
from gs_densify.report.statistics import Spread, spread
from gs_densify.results import EvaluationRecord


@dataclass(frozen=True, kw_only=True)
class MarksRow:
    """A method: its seconds of training, evaluations left out, at the first evaluation past each
    mark."""

    label: str
    seconds: list[Spread]
    """In the order of the marks, over seeds; null where one of them never passed it."""
    num_seeds: int
    is_evaluated_alike: bool
    """Whether all seeds were evaluated after the same steps, without which times say less."""


@dataclass(frozen=True, kw_only=True)
class MarksTable:
    """A scene."""

    name: str
    marks: list[float]
    """PSNRs, ascending."""
    rows: list[MarksRow]


def marks_tables(
    methods: Sequence[Method], scenes: Sequence[str], marks: Sequence[float]
) -> list[MarksTable]:
    """Returns a table for each scene; none without marks.

    Raises:
        ResultError: for a model of which times are not known, since only its scores are there, and
            for a mark that is infinite or NaN.
    """
    for mark in marks:
        if not math.isfinite(mark):
            raise ResultError(f"has {mark}", expected="finite PSNRs in dB", option="marks")
    ordered = sorted(set(marks))
    if not ordered:
        return []
    tables = []
    for scene in scenes:
        on_scene = [(method.label, method.on(scene)) for method in methods]
        rows = [_row(label, runs, ordered) for label, runs in on_scene if runs]
        tables.append(MarksTable(name=scene, marks=ordered, rows=rows))
    return tables


def _row(label: str, runs: Sequence[Run], marks: Sequence[float]) -> MarksRow:
    evaluations = [_evaluations(run) for run in runs]
    steps = {tuple(one.step for one in own) for own in evaluations}
    return MarksRow(
        label=label,
        seconds=[spread([_passed(own, mark) for own in evaluations]) for mark in marks],
        num_seeds=len(runs),
        is_evaluated_alike=len(steps) == 1,
    )


def _evaluations(run: Run) -> list[EvaluationRecord]:
    if run.results is None:
        raise ResultError(
            f"needs times, which {run.path} has not: it is an evaluation",
            action="name the run itself",
            option="marks",
        )
    return sorted(run.results.evaluations, key=lambda one: one.step)


def _passed(evaluations: Sequence[EvaluationRecord], mark: float) -> float | None:
    for one in evaluations:
        psnr = one.scores.get("psnr")
        if psnr is not None and psnr >= mark:
            return one.train_seconds
    return None
