"""Expected times of cells: from cells that are done, or else from steps timed before the study."""

import dataclasses
import json
import os
import pickle
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence

from gs_densify.bench.folder import StudyFolder
from gs_densify.bench.matrix import Cell
from gs_densify.config.options import TrainConfig
from gs_densify.errors import ResultError
from gs_densify.results import load_results
from gs_densify.results.names import RESULTS

RowKey = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Seconds of a cell, and where they come from."""

    seconds: float | None
    """None: not known."""
    source: str


def row_key(cell: Cell) -> RowKey:
    """Returns what cells with one expected time share."""
    return (cell.row.scene.label, cell.row.label)


def from_finished(folder: StudyFolder, done: Sequence[Cell]) -> dict[RowKey, Estimate]:
    """Returns the mean times of the rows of which cells are done, from command to last file."""
    found: dict[RowKey, list[float]] = {}
    for cell in done:
        try:
            total = load_results(folder.run(cell) / RESULTS).wall_time.total
        except ResultError:
            continue  # a report says what is wrong with it; a time is not worth an error
        found.setdefault(row_key(cell), []).append(total)
    return {key: Estimate(statistics.mean(times), "measured") for key, times in found.items()}


def from_forecast(
    wanted: Mapping[RowKey, TrainConfig], environment: Mapping[str, str]
) -> tuple[dict[RowKey, Estimate], str]:
    """Returns the times of training that a process has measured, and what kept it from that.

    Args:
        wanted: a configuration of each row.
        environment: of the process, which says what GPU it sees.
    """
    done = subprocess.run(
        [sys.executable, "-m", "gs_densify.bench.measure"],
        input=pickle.dumps(list(wanted.values())),
        capture_output=True,
        env={**os.environ, **environment},
    )
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        return {}, lines[-1] if lines else f"exit code {done.returncode}"
    found: dict[RowKey, Estimate] = {}
    refused = ""
    for key, seconds in zip(wanted, json.loads(done.stdout.splitlines()[-1]), strict=True):
        if isinstance(seconds, str):
            refused = seconds
        else:
            found[key] = Estimate(seconds, "forecast" if seconds else "no limit of Gaussians")
    return found, refused
