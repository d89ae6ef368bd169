"""Room on the disk for files that can be made again: those used least recently go first."""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from gs_densify.errors import ConfigError, SceneError
from gs_densify.folder_lock import held


def make_room(path: Path, needed: int, budget: float) -> None:
    """Removes files beside `path`, until it can grow by `needed` bytes.

    A file whose lock a process has is in use, and stays; all stay where they are too small.

    Args:
        path: the file that is to grow; it is there.
        needed: bytes.
        budget: bytes that all files with the suffix of `path` may take together.

    Raises:
        SceneError: there is not as much room.
    """
    others = _least_recently_used(path)
    if needed <= _room(path, budget) + sum(map(used_bytes, others)):
        for other in others:
            if needed <= _room(path, budget):
                return
            remove_unless_in_use(other)
    room = _room(path, budget)
    if needed <= room:
        return
    free = shutil.disk_usage(path.parent).free
    is_full = free < needed
    larger = "set GS_CACHE to a folder on a larger disk" if is_full else "raise --data.disk-budget"
    raise SceneError(
        f"{path.parent}: {needed / 1e9:.3g} GB of photos are to be kept there, and there is room"
        f" for {max(room, 0) / 1e9:.3g} GB ({free / 1e9:.3g} GB of the disk are free, and photos"
        f" may take {budget / 1e9:.3g} GB)",
        action=f"{larger}, or make the photos smaller with --downscale",
    )


def used_bytes(path: Path) -> int:
    """Returns the bytes of the disk that a file takes; 0 for one that is not there."""
    try:
        return path.stat().st_blocks * 512
    except OSError:
        return 0


def remove_unless_in_use(path: Path, is_wanted: Callable[[int], bool] = lambda _: False) -> None:
    """Removes a file whose lock no process has, but where `is_wanted`, asked under the lock with a
    descriptor of the file, says that it stays.
    """
    with suppress(ConfigError, OSError):
        descriptor = os.open(path, os.O_RDWR)  # NFS locks what may be written alone
        with held(descriptor, "in use"):
            # Without a link it was removed meanwhile, and `path` is the file of another process.
            if os.fstat(descriptor).st_nlink and not is_wanted(descriptor):
                path.unlink()


def _room(path: Path, budget: float) -> float:
    used = sum(map(used_bytes, path.parent.glob(f"*{path.suffix}")))
    return min(budget - used, shutil.disk_usage(path.parent).free)


def _least_recently_used(path: Path) -> list[Path]:
    """Returns the other files with the suffix of `path`, by their time stamps."""
    ages = {}
    for other in path.parent.glob(f"*{path.suffix}"):
        with suppress(OSError):  # another process has removed it
            ages[other] = other.stat().st_mtime_ns
    return sorted(ages.keys() - {path}, key=lambda other: ages[other])
