"""The folder of a study: where things are, that one gs-bench at a time works in it, and that
nothing in it is ever lost.
"""

import dataclasses
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from gs_densify.bench.matrix import Cell
from gs_densify.errors import ConfigError
from gs_densify.folder_lock import held
from gs_densify.results.names import RESULTS
from gs_densify.runs.checkpoint_files import checkpoints
from gs_densify.runs.held_folder import is_in_use
from gs_densify.runs.layout import time_stamp

STUDY = "study.yml"
RECORD = "study.json"
CELLS = "cells"
_LOCK = ".lock"


@dataclasses.dataclass(frozen=True)
class StudyFolder:
    """Paths in a study's folder."""

    root: Path

    def run(self, cell: Cell) -> Path:
        """Returns the folder of a cell's run, which gs-train makes."""
        return self.root / CELLS / cell.name

    def state(self, cell: Cell) -> Path:
        """Returns the file of a cell's state, beside its run."""
        return self.root / CELLS / f"{cell.name}.json"

    def log(self, cell: Cell) -> Path:
        """Returns the file for what the cell's next process prints; earlier ones are kept."""
        names = (self.root / "logs" / f"{cell.name}.{number}.log" for number in count(1))
        return next(path for path in names if not path.exists())

    def relative(self, path: Path) -> str:
        """Returns a path below the study's folder as text."""
        return path.relative_to(self.root).as_posix()

    def is_done(self, cell: Cell) -> bool:
        """Returns whether the cell's run is complete; its results are written last."""
        return (self.run(cell) / RESULTS).is_file()

    def can_resume(self, cell: Cell) -> bool:
        """Returns whether the cell's run has a checkpoint and is not complete."""
        return not self.is_done(cell) and bool(checkpoints(self.run(cell)))

    def supersede(self, cell: Cell) -> Path | None:
        """Moves what lies in a cell's folder to `superseded/TIME/`; returns that place, or None
        where nothing lay there.
        """
        run = self.run(cell)
        if not run.exists():
            return None
        stamp = time_stamp()
        names = (f"{stamp}_{number}" if number else stamp for number in count())
        places = (self.root / "superseded" / name / cell.name for name in names)
        place = next(path for path in places if not path.exists())
        place.parent.mkdir(parents=True, exist_ok=True)
        run.rename(place)
        if self.state(cell).exists():
            shutil.copyfile(self.state(cell), place.parent / self.state(cell).name)
        return place

    def remove_checkpoints(self, cell: Cell) -> None:
        """Removes the checkpoints of a cell that is done."""
        shutil.rmtree(self.run(cell) / "checkpoints", ignore_errors=True)

    def is_being_trained(self, cell: Cell) -> bool:
        """Returns whether a process holds the lock of a cell's run."""
        return is_in_use(self.run(cell))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the folder, and keeps another gs-bench out of it; ConfigError where one runs."""
        self._make()
        descriptor = os.open(self.root / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        with held(descriptor, f"{self.root}: another gs-bench works in this folder"):
            yield

    def _make(self) -> None:
        self.check()
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"{self.root}: cannot be made ({error.strerror})", option="out"
            ) from None

    def check(self) -> None:
        """Raises ConfigError where the folder holds something else than a study."""
        root = self.root
        if not root.exists() or (root.is_dir() and not any(root.iterdir())):
            return
        if not root.is_dir() or not any((root / name).exists() for name in (RECORD, _LOCK)):
            raise ConfigError(
                f"{root} holds other files, and no study",
                action="choose another folder",
                option="out",
            )
