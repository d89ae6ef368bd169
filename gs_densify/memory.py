"""Host memory: what is free, and a process that fails in words before it takes more. No torch.

A system promises more memory than it has: a process that uses it up is killed without a word, or
the machine swaps. With a limit the allocation that is too much fails at once, as an error.
"""

import ctypes
import re
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from gs_densify.errors import BackendError

_SHARE = 0.9
"""Of the free memory: the rest is for other processes."""
_TORCH = re.compile(r"DefaultCPUAllocator: .*?allocate (\d+) bytes")


_SIZE = re.compile(r"(\d{1,18}(?:\.\d*)?)\s*([KMGT]?)(I?)B", re.IGNORECASE)


def bytes_of(text: str) -> int:
    """Returns the bytes that a text such as `8GB`, `7.5 GiB` or `600MB` says.

    Raises:
        ValueError: it says none, or no unit.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(text)
    number, prefix, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** " KMGT".index(prefix.upper() or " "))


class _Container(NamedTuple):
    """Files in which a container's memory stands, in bytes."""

    limit: Path
    used: Path
    """With the files that are in memory."""
    parts: Path
    cache: str
    """Name in `parts` of the files in memory that nobody has read twice: they make room first."""

    def left(self) -> int | None:
        """Returns the bytes to the limit; None where there is none."""
        try:
            limit = self.limit.read_text().strip()
            if not limit.isdecimal():
                return None
            used = int(self.used.read_text())
        except OSError:
            return None
        return max(int(limit) - used + (_field(self.parts, self.cache) or 0), 0)


_V2, _V1 = Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/memory")
_CONTAINERS = (
    _Container(_V2 / "memory.max", _V2 / "memory.current", _V2 / "memory.stat", "inactive_file"),
    _Container(
        _V1 / "memory.limit_in_bytes",
        _V1 / "memory.usage_in_bytes",
        _V1 / "memory.stat",
        "total_inactive_file",
    ),
)
"""Of cgroup versions 2 and 1."""


def free_memory() -> int | None:
    """Returns the bytes that this process can have without swapping; None where it is not known.

    It is what Linux calls available, or what is left of a container's limit where that is less.
    Neither counts files that are in memory as used, as far as they make room.
    """
    available = _field(Path("/proc/meminfo"), "MemAvailable")
    left = [container.left() for container in _CONTAINERS]
    return min((one for one in (available, *left) if one is not None), default=None)


@contextmanager
def limited_to_free() -> Iterator[None]:
    """Lets the process have nine tenths of the memory that is free when the block begins.

    Where Linux does not say how much that is, there is no limit. What the process has already is
    not counted, nor are files in memory.
    """
    free, has = free_memory(), _field(Path("/proc/self/status"), "VmData")
    if free is None or has is None:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = has + int(_SHARE * free)
    limits = [one for one in (wanted, *before) if one != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def release_freed() -> None:
    """Gives the system back what was freed: glibc keeps blocks that lie among others in use."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def is_shortage(error: BaseException) -> bool:
    """Returns whether an error says that host memory ran out: Python's, NumPy's or torch's."""
    if type(error) is RuntimeError:
        return _TORCH.search(str(error)) is not None
    return isinstance(error, MemoryError)


@contextmanager
def host_shortage(say: Callable[[], str]) -> Iterator[None]:
    """Limits the block to free memory; where that runs out, a BackendError says so with `say`."""
    try:
        with limited_to_free():
            yield
    except Exception as error:
        if not is_shortage(error):
            raise
        asked = _TORCH.search(str(error))
        wanted = f", where {int(asked[1]) / 1e9:.3g} GB more were wanted" if asked else ""
        raise BackendError(f"memory ran out{wanted}, {say()}") from None


def _field(path: Path, name: str) -> int | None:
    """Returns the bytes that a file of Linux has under a name; None without either."""
    try:
        found = re.search(rf"^{name}:?\s+(\d+)( kB)?$", path.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * (1024 if found[2] else 1) if found else None
