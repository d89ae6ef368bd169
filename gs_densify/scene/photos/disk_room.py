"""Room on the disk for files that can be made again: those used least recently go first."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from gs_densify.errors import ConfigError, SceneError
from gs_densify.folder_lock import held


def make_room(path: Path, needed: int, budget: float) -> None:
    """Removes files beside `path`, until it can grow by `needed` bytes.

    A file whose lock a process has is in use, and stays.

    Args:
        path: the file that is to grow; it is there.
        needed: bytes.
        budget: bytes that all files with the suffix of `path` may take together.

    Raises:
        SceneError: there is not as much room.
    """
    for other in _least_recently_used(path):
        if needed <= _room(path.parent, path.suffix, budget):
            return
        _remove_unless_in_use(other)
    room = _room(path.parent, path.suffix, budget)
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


def _room(folder: Path, suffix: str, budget: float) -> float:
    used = sum(map(used_bytes, folder.glob(f"*{suffix}")))
    return min(budget - used, shutil.disk_usage(folder).free)


def _least_recently_used(path: Path) -> Iterator[Path]:
    """Yields the other files with the suffix of `path`, by their time stamps."""
    ages = {}
    for other in path.parent.glob(f"*{path.suffix}"):
        try:
            ages[other] = other.stat().st_mtime_ns
        except OSError:  # another process has removed it
            continue
    yield from sorted(ages.keys() - {path}, key=lambda other: ages[other])


def _remove_unless_in_use(path: Path) -> None:
    try:
        with held(os.open(path, os.O_RDONLY), "in use"):
            path.unlink(missing_ok=True)
    except (ConfigError, OSError):
        return
