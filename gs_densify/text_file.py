"""Text files that a person wrote, and what was named in place of one: a device never ends."""

import errno
import os
from pathlib import Path

_MOST = 2**24
"""Bytes that nobody writes by hand."""


def read_text(path: Path, *, most: int = _MOST) -> str:
    """Returns a file's text of UTF-8, with or without a byte order mark.

    Raises:
        OSError: it cannot be read, or has more than `most` bytes.
        UnicodeDecodeError: it is no text.
    """
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return content.decode("utf-8-sig")
