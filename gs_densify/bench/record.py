"""study.json: what a study's folder is the result of, for whoever reads it later."""

import dataclasses
import shlex
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from gs_densify.bench.file import save_study
from gs_densify.bench.folder import CELLS, RECORD, STUDY, StudyFolder
from gs_densify.bench.plan import Plan, PlannedCell
from gs_densify.bench.slots import Gpu
from gs_densify.bench.state import new_state
from gs_densify.bench.study import Study
from gs_densify.results.files import load_json, save_json
from gs_densify.runs.environment import versions
from gs_densify.source import commit, package_digest

SCHEMA_VERSION = 1
_OF_CELL = (
    *("scene", "label", "method", "strategy", "preset", "change", "change_options", "seed"),
    "budget",
)


def save_record(
    folder: StudyFolder,
    study: Study,
    plan: Plan,
    command: Sequence[str],
    *,
    executor: str,
    gpus: Sequence[Gpu],
    at_a_time: int,
) -> None:
    """Writes study.yml and study.json; calls before this one stay in the latter, and cells, too."""
    path = folder.root / RECORD
    before: dict[str, Any] = load_json(path) if path.exists() else {}
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    call = {
        "started": now,
        "command": shlex.join(command),
        "executor": executor,
        "at_a_time": at_a_time,
        "gpus": [dataclasses.asdict(gpu) for gpu in gpus],
        "versions": versions(),
        "commit": commit(),
        "package_code": package_digest(),
    }
    cells = {one["folder"]: {**one, "is_asked_for": False} for one in before.get("cells", [])}
    cells |= {one["folder"]: one for one in map(_entry, plan.cells)}
    save_study(study, folder.root / STUDY)
    save_json(
        path,
        {
            "schema_version": SCHEMA_VERSION,
            "created": before.get("created", now),
            "budget": study.budget,
            "calls": [*before.get("calls", []), call],
            "cells": list(cells.values()),
        },
    )


def _entry(planned: PlannedCell) -> dict[str, Any]:
    """Returns what the record says of a cell; all else is in the cell's own file."""
    state = new_state(planned.cell, planned.fingerprint)
    return {
        "folder": f"{CELLS}/{planned.cell.name}",
        **{name: getattr(state, name) for name in _OF_CELL},
        "digest": state.digest,
        "is_asked_for": True,
    }
