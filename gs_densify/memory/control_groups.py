"""What control groups, in which containers and jobs run, leave a process of memory.

A group lies in others, and what its processes use counts in all of them: the one with least left
decides. A container may see its own group alone, as the root of all (`0::/`). See the kernel's
documentation, admin-guide/cgroup-v2 and cgroup-v1/memory.
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from gs_densify.memory.fields import field


class _Version(NamedTuple):
    """What the files of a version are called."""

    type: str
    """Of the file system."""
    limit: str
    used: str
    """With files in memory."""
    files: tuple[str, str]
    """Fields of `memory.stat`: files in memory, which make room before a process is ended."""


_V2 = _Version("cgroup2", "memory.max", "memory.current", ("inactive_file", "active_file"))
_V1 = _Version(
    "cgroup",
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    ("total_inactive_file", "total_active_file"),
)
_LEAST_OF_ALL = "hierarchical_memory_limit"
"""Field of version 1: the least limit of a group and those that it lies in, also unseen ones."""


def left_in_groups(process: Path) -> int | None:
    """Returns the bytes that are left to the limits of a process; None where it has none.

    Args:
        process: its folder, `/proc/self`.
    """
    try:
        groups = dict(_groups(_text(process / "cgroup")))
        mounts = list(_mounts(_text(process / "mountinfo")))
    except OSError:
        return None
    left = [
        _left(folder, version)
        for version, root, mount in mounts
        if version in groups
        for folder in _folders(groups[version], root, mount)
    ]
    return min((one for one in left if one is not None), default=None)


def _groups(text: str) -> Iterator[tuple[_Version, PurePosixPath]]:
    """Yields the groups of a process that limit memory, of lines `number:controllers:path`."""
    for line in _lines(text):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            yield _V2, PurePosixPath(path)
        elif "memory" in controllers.split(","):
            yield _V1, PurePosixPath(path)


def _mounts(text: str) -> Iterator[tuple[_Version, PurePosixPath, Path]]:
    """Yields where groups can be seen: the version, and which group (its path) is at which folder.

    A line is `id parent device root folder options [more ...] - type source options`.
    """
    for line in _lines(text):
        before, _, after = line.partition(" - ")
        root, folder = (_unescaped(one) for one in before.split(" ")[3:5])
        kind, _, options = after.split(" ")[:3]
        if kind == _V2.type:
            yield _V2, PurePosixPath(root), Path(folder)
        elif kind == _V1.type and "memory" in options.split(","):
            yield _V1, PurePosixPath(root), Path(folder)


def _text(path: Path) -> str:
    return path.read_text(errors="surrogateescape")  # a path may be of any bytes


def _lines(text: str) -> list[str]:
    return [line for line in text.split("\n") if line]  # a path may have what else ends a line


def _unescaped(path: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), path)


def _folders(group: PurePosixPath, root: PurePosixPath, mount: Path) -> Iterator[Path]:
    """Yields the folders of a group and of those that it lies in, as far as they can be seen.

    Where the group itself cannot be, one that it lies in is at the mount.
    """
    inner = group.relative_to(root) if group.is_relative_to(root) else PurePosixPath()
    for part in (inner, *inner.parents):
        yield mount / part


def _left(folder: Path, version: _Version) -> int | None:
    """Returns the bytes to the limit of a group; None where it has none."""
    stat = folder / "memory.stat"
    limits = [_number(folder / version.limit), field(stat, _LEAST_OF_ALL)]
    limit = min((one for one in limits if one is not None), default=None)
    used = _number(folder / version.used)
    if limit is None or used is None:
        return None
    files = sum(field(stat, name) or 0 for name in version.files)
    return max(limit - max(used - files, 0), 0)


def _number(path: Path) -> int | None:
    """Returns the number in a file; None where it is not there, or says `max`."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None
