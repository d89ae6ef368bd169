"""The folder of files that can be made again. Standard library only."""

import os
from pathlib import Path

from gs_densify.errors import ResultError, SceneError
from gs_densify.home import expanded
from gs_densify.results.files import atomic_write


def default_cache() -> Path:
    """Returns ``$GS_CACHE``, or else ``gs_densify`` below ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if own := os.environ.get("GS_CACHE"):
        return expanded(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "gs_densify"


def store(path: Path, content: bytes) -> None:
    """Writes a file of the cache whole; of several that write it at once, any one stays."""
    try:
        with atomic_write(path) as file:
            file.write(content)
    except ResultError as error:
        raise SceneError(
            f"the cache file {str(error).rstrip('.')}",
            expected="expected a folder with space left",
            action="set GS_CACHE to a folder of yours",
        ) from None
