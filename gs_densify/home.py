"""`~` and `~somebody` in paths, in words where nobody is called so. Standard library only."""

from pathlib import Path

from gs_densify.errors import ConfigError


def expanded(path: str | Path) -> Path:
    """Returns a path with the home folder for `~`.

    Raises:
        ConfigError: there is no such user, or nobody's home folder is known.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigError(
            f"{path}: the home folder of {Path(path).parts[0]!r} is not known",
            action="write the whole path, from / on",
        ) from None
