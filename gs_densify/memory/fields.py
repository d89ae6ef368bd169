"""Fields of Linux's files about memory."""

import re
from pathlib import Path


def field(path: Path, name: str) -> int | None:
    """Returns the bytes that a file of Linux has under a name; None without either."""
    try:
        found = re.search(rf"^{name}:?\s+(\d+)( kB)?$", path.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * (1024 if found[2] else 1) if found else None
