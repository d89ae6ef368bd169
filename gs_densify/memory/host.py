"""Host memory: what is free, and a process that fails before it takes more. No torch.

A system promises more memory than it has: a process that uses it up is killed without a word, or
the machine swaps. With a limit the allocation that is too much fails at once, as an error.
"""

import ctypes
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gs_densify.memory.control_groups import left_in_groups
from gs_densify.memory.fields import field

_SHARE = 0.9
"""Of the free memory: the rest is for other processes."""


def free_memory(proc: Path = Path("/proc")) -> int | None:
    """Returns the bytes that this process can have without swapping; None where it is not known.

    It is what Linux calls available, or what is left of a container's or a job's limit where that
    is less. Neither counts files that are in memory as used, as far as they make room.
    """
    known = (field(proc / "meminfo", "MemAvailable"), left_in_groups(proc / "self"))
    return min((one for one in known if one is not None), default=None)


@contextmanager
def limited_to_free() -> Iterator[None]:
    """Lets the process have nine tenths of the memory that is free when the block begins.

    Where Linux does not say how much that is, there is no limit. What the process has already is
    not counted, nor are files in memory.
    """
    free, has = free_memory(), field(Path("/proc/self/status"), "VmData")
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
