"""A new folder for the files of a command, which leaves nothing where the command is refused."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gs_densify.runs.held_folder import HeldFolder, locked
from gs_densify.runs.layout import check_free, create_folder


@dataclass
class Claim:
    """A folder that this process alone writes into."""

    held: HeldFolder
    is_worth_keeping: Callable[[], bool] = lambda: False
    """Whether what lies in it is of use although the command has failed."""

    @property
    def folder(self) -> Path:
        """Returns its name, as the user knows it."""
        return self.held.named


@contextmanager
def claimed(out: Path | None, default: Path) -> Iterator[Claim]:
    """Makes `out`, or else `default`, and keeps other processes from training in it.

    Where an error ends the command with nothing worth keeping, what was not there before is
    removed.

    Raises:
        ConfigError: something lies in `out`, or the folder cannot be made.
    """
    there = {path for path in (out or default).absolute().parents if path.exists()}
    is_new = out is None or not out.exists()
    folder = create_folder(out, default)
    with locked(folder) as held:
        check_free(folder)  # again: another process may have been here in between
        claim = Claim(held)
        try:
            yield claim
        except BaseException:
            if held.is_there() and not claim.is_worth_keeping():
                _empty(held.path)
                made = [path for path in held.path.parents if path not in there]
                _remove_empty([held.path, *made] if is_new else [])
            raise


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _remove_empty(folders: list[Path]) -> None:
    """Removes folders from the innermost outwards, up to one that others have put something in."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()
