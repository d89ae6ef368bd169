"""The record of a study: a folder with its configuration, its environment, and a file a run."""

import re
import shlex
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gs_densify.errors import ResultError
from gs_densify.report.methods import code_of
from gs_densify.report.report import Report
from gs_densify.report.runs import Run
from gs_densify.results.files import load_json, save_json
from gs_densify.results.record import (
    SUFFIX,
    RunRecord,
    save_record,
    without_place_flags,
    without_places,
)

STUDY_FILES = ("study.yml", "study.json")
"""What gs-bench leaves in a study's folder."""
ENVIRONMENT = "environment.json"


def save_records(folder: Path, report: Report, places: Sequence[Path]) -> list[Path]:
    """Writes the runs of a report into an empty or new folder, without names of folders.

    Args:
        folder: of the record.
        report: whose runs are kept.
        places: that the runs came from; the configuration of a study among them is copied.

    Raises:
        ResultError: an evaluation is among the runs, of which there is no time line to keep, or two
            studies are.
    """
    studies = [place for place in places if (place / STUDY_FILES[0]).is_file()]
    if len(studies) > 1:
        raise ResultError(
            f"{studies[0]} and {studies[1]} are two studies",
            action="write a record of each",
            option="record",
        )
    named = _named([run for method in report.methods for run in method.runs], report)
    records = {name: _record(run) for name, run in named.items()}
    for name, record in records.items():
        save_record(folder / f"{name}{SUFFIX}", record)
    for study in studies:
        shutil.copyfile(study / STUDY_FILES[0], folder / STUDY_FILES[0])
        if (study / STUDY_FILES[1]).is_file():
            save_json(folder / STUDY_FILES[1], _nameless(load_json(study / STUDY_FILES[1])))
    runs = list(named.values())
    save_json(
        folder / ENVIRONMENT,
        {
            "code": sorted({code_of(run) for run in runs}),
            "hardware": _counted(run.protocol.conditions.gpu or "CPU" for run in runs),
            "versions": _versions(runs),
        },
    )
    return [folder / f"{name}{SUFFIX}" for name in named]


def _nameless(study: Any) -> Any:
    """Returns what gs-bench wrote of a study, without what names a machine or its folders."""
    if isinstance(study, dict):
        return {
            name: shlex.join(without_place_flags(shlex.split(value)))
            if name == "command" and isinstance(value, str)
            else _nameless(value)
            for name, value in study.items()
            if name != "uuid"
        }
    return [_nameless(item) for item in study] if isinstance(study, list) else study


def _record(run: Run) -> RunRecord:
    if run.results is None:
        raise ResultError(
            f"{run.path}: is an evaluation", action="record runs of gs-train", option="record"
        )
    return RunRecord(results=without_places(run.results), views=run.views, timeline=run.timeline)


def _named(runs: Sequence[Run], report: Report) -> dict[str, Run]:
    """Returns the runs by a name for each: scene, method and seed."""
    labels = {id(run): method.label for method in report.methods for run in method.runs}
    named: dict[str, Run] = {}
    for run in runs:
        name = f"{slug(run.scene)}_{slug(labels[id(run)])}_seed{run.seed}"
        other = named.setdefault(name, run)
        if other is not run:
            raise ResultError(
                f"{other.path} and {run.path} would both be {name}{SUFFIX}",
                action="leave one of them out",
                option="record",
            )
    return named


def slug(text: str) -> str:
    """Returns a text as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9.+=-]+", "-", text).strip("-") or "method"


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def _versions(runs: Sequence[Run]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for run in runs:
        for package, version in run.protocol.conditions.versions.items():
            if version is not None:
                found.setdefault(package, set()).add(version)
    return {package: sorted(versions) for package, versions in sorted(found.items())}
