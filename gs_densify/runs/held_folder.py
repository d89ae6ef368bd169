"""The folder of a run while a process writes into it: its own, and known by its identity."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gs_densify import folder_lock
from gs_densify.errors import ConfigError, ResultError


@dataclass(frozen=True)
class HeldFolder:
    """A folder that stays the same one wherever the process goes, and whatever takes its place."""

    named: Path
    """As the user knows it, from where the command began."""
    path: Path
    """Absolute: code of others may change the working folder."""
    identity: tuple[int, int]
    """Device and inode."""

    def is_there(self) -> bool:
        """Returns whether it still is at its place."""
        try:
            return _identity(os.stat(self.path)) == self.identity
        except OSError:
            return False

    def check(self) -> None:
        """Raises ResultError where it is not at its place: what is written now would be lost."""
        if not self.is_there():
            raise ResultError(
                f"{self.path}: the run's folder was moved, removed or replaced while it trained",
                action="where it was moved, go on with gs-train --resume and its new place; else"
                " train again",
            )


@contextmanager
def locked(run: Path) -> Iterator[HeldFolder]:
    """Keeps other processes from training in a run's folder; ConfigError where one does."""
    path = run.absolute()
    with folder_lock.locked(run, "trains") as status:
        yield HeldFolder(run, path, _identity(status))


def is_in_use(run: Path) -> bool:
    """Returns whether a process trains in a run's folder; not where there is no such folder."""
    try:
        with locked(run):
            return False
    except FileNotFoundError:
        return False
    except ConfigError:
        return True


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
