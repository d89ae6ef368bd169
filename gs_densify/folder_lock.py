"""Locks on folders and files that one process at a time works in, or several share.

They end with the process.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gs_densify.errors import ConfigError


@contextmanager
def locked(folder: Path, does: str) -> Iterator[os.stat_result]:
    """Holds the lock of a folder, and yields the status of the folder that is locked.

    Args:
        folder: is there.
        does: what the one who holds it does there, for the message: `trains`.

    Raises:
        ConfigError: another process holds it.
        OSError: the folder is not there, or cannot be opened.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    with held(descriptor, f"{folder}: another process {does} in this folder"):
        yield os.fstat(descriptor)


@contextmanager
def held(descriptor: int, taken: str) -> Iterator[None]:
    """Holds the lock of an open file or folder, and closes it at the end.

    Raises:
        ConfigError: another process holds it, as `taken` says.
    """
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(taken, action="let it finish") from None
        yield
    finally:
        os.close(descriptor)


def share(descriptor: int) -> None:
    """Shares the lock of an open file or folder with others who do so, until it is closed.

    It waits for a process that holds the lock.
    """
    fcntl.flock(descriptor, fcntl.LOCK_SH)
