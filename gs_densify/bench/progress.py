"""How far a cell is, from the time line that its run writes."""

import dataclasses
import json
import os
from pathlib import Path

_TAIL = 16384
"""Bytes at the end of a time line that are read: some dozens of lines."""


@dataclasses.dataclass(frozen=True)
class Progress:
    """The last line of a run's figures, and the last PSNR."""

    step: int
    num_gaussians: int
    step_milliseconds: float | None
    psnr: float | None


def read_progress(path: Path) -> Progress | None:
    """Returns the progress in a metrics.jsonl; None before its first whole line.

    A last line that is still being written is left out, as is whatever is no line of figures.
    """
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            *lines, _ = file.read().split(b"\n")
    except OSError:
        return None
    rows = [row for row in map(_row, lines) if row is not None]
    if not rows:
        return None
    scores = [row["psnr"] for row in rows if row.get("psnr") is not None]
    last = rows[-1]
    return Progress(
        last["step"],
        last["num_gaussians"],
        last.get("step_milliseconds"),
        scores[-1] if scores else None,
    )


def _row(line: bytes) -> dict | None:
    try:
        row = json.loads(line)
    except ValueError:  # the tail begins amid a line
        return None
    return row if isinstance(row, dict) and {"step", "num_gaussians"} <= row.keys() else None
