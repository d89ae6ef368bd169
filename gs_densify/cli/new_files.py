"""Files and folders that a user names for what a command writes besides its own."""

import os
from collections.abc import Mapping
from pathlib import Path

from gs_densify.errors import ConfigError


def check_new(files: Mapping[str, Path | None], folders: Mapping[str, Path | None]) -> None:
    """Refuses to write over anything, or twice to one place, before the work is done.

    Args:
        files: by the option that names each; none of them may be there.
        folders: likewise; they may be there and empty.

    Raises:
        ConfigError: something is there already, whatever it is, or two options name one place.
    """
    taken: dict[Path, str] = {}
    for option, path in {**files, **folders}.items():
        if path is None:
            continue
        if _is_there(path) and not (option in folders and _is_empty_folder(path)):
            raise ConfigError(
                f"{path} is there already; nothing was changed",
                action="choose another name, or remove it first",
                option=option,
            )
        other = taken.setdefault(Path(os.path.realpath(path)), option)
        if other != option:
            raise ConfigError(
                f"and --{other} both name {path}", action="give each its own", option=option
            )


def _is_there(path: Path) -> bool:
    return os.path.lexists(path)  # a link that leads nowhere is there, too


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())
