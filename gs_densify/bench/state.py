"""What is known of a cell over all calls of gs-bench: a JSON file beside its run's folder."""

import dataclasses
from typing import Any

from gs_densify.bench.fingerprint import Fingerprint
from gs_densify.bench.folder import StudyFolder
from gs_densify.bench.matrix import Cell
from gs_densify.results.decode import decode
from gs_densify.results.files import load_json, save_json

SCHEMA_VERSION = 1


@dataclasses.dataclass
class Attempt:
    """One process of a cell."""

    started: str
    """ISO 8601, UTC."""
    executor: str
    slot: str
    """The GPU, `cpu`, or the job's number."""
    together: int
    """Cells that were run on that GPU at a time, this one among them: above 1 its times are not
    comparable with others."""
    resumed: bool
    log: str
    """Below the study's folder."""
    job: str | None = None
    """Number of a cluster's job."""
    seconds: float | None = None
    exit_code: int | None = None
    error: str | None = None
    """Why it ended before the cell was done."""


@dataclasses.dataclass
class CellState:
    """A cell, for the next call and for reports."""

    scene: str
    label: str
    """Method, preset and change, as tables show it."""
    method: str
    strategy: str
    preset: str | None
    change: str | None
    change_options: dict[str, Any]
    seed: int
    budget: int | None
    status: str
    """waiting, running, done, failed or interrupted: when it was written."""
    fingerprint: Fingerprint
    digest: str
    attempts: list[Attempt] = dataclasses.field(default_factory=list)
    schema_version: int = SCHEMA_VERSION


def new_state(cell: Cell, fingerprint: Fingerprint) -> CellState:
    """Returns the state of a cell that has not begun."""
    row = cell.row
    return CellState(
        scene=row.scene.label,
        label=row.label,
        method=row.method.label,
        strategy=fingerprint.options["strategy.name"],
        preset=row.preset,
        change=row.change.label if row.change else None,
        change_options=dict(row.change.options) if row.change else {},
        seed=cell.seed,
        budget=cell.budget,
        status="waiting",
        fingerprint=fingerprint,
        digest=fingerprint.digest,
    )


def load_state(folder: StudyFolder, cell: Cell) -> CellState | None:
    """Returns what is written of a cell; None where nothing is; ResultError where it is damaged."""
    path = folder.state(cell)
    return decode(CellState, load_json(path), str(path)) if path.exists() else None


def save_state(folder: StudyFolder, cell: Cell, state: CellState) -> None:
    """Writes the state, whole or not at all."""
    save_json(folder.state(cell), state)
