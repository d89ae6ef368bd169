"""What installed packages offer by name in entry-point groups of ours. Imports no torch."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import metadata
from typing import Any

from gs_densify.errors import ConfigError, GsDensifyError


def entry_points(group: str) -> list[metadata.EntryPoint]:
    """Returns what installed packages offer in `group`, by name."""
    offered = _all_entry_points(tuple(sys.path)).select(group=group)
    return sorted(offered, key=lambda entry: entry.name)


@lru_cache(maxsize=2)
def _all_entry_points(path: tuple[str, ...]) -> Any:
    """Returns those of all groups, for which every installed package is looked at."""
    del path  # as long as it stays, so do they
    return metadata.entry_points()


def load_offered(group: str, kind: str, name: str) -> tuple[Any, metadata.EntryPoint] | None:
    """Returns what a package offers as `name`, and its entry point; None where none does.

    Args:
        group: of the entry points.
        kind: what `group` has, as errors name it, e.g. `metric`.
        name: of the entry point.

    Raises:
        ConfigError: where several packages offer it, or it cannot be imported.
    """
    offers = [entry for entry in entry_points(group) if entry.name == name]
    if not offers:
        return None
    if len(offers) > 1:
        origins = " and by ".join(sorted(map(origin, offers)))
        raise ConfigError(
            f"{kind} '{name}' is offered by {origins}",
            expected="names must differ",
            action="uninstall one of them",
        )
    with refusing(f"{kind} '{name}' ({origin(offers[0])}): cannot be imported"):
        return offers[0].load(), offers[0]


def refuse_clash(group: str, kind: str, name: str) -> None:
    """Raises ConfigError where a package offers something under the name of a built-in one."""
    for entry in entry_points(group):
        if entry.name == name:
            raise ConfigError(
                f"{kind} '{name}' is built in, and {origin(entry)} offers another of this name",
                action="rename that entry point or uninstall the package",
            )


def origin(entry: metadata.EntryPoint) -> str:
    """Returns the package that an entry point belongs to, as errors name it."""
    return f"package {entry.dist.name}" if entry.dist is not None else f"'{entry.value}'"


def described(error: BaseException) -> str:
    """Returns an exception in one line."""
    try:
        text = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
    except Exception:  # of another's class, whose text is code, too
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextmanager
def staying(what: str) -> Iterator[None]:
    """Refuses code of others inside that leaves the working folder, and goes back to it.

    Raises:
        ConfigError: it does; the message begins with `what`.
    """
    try:
        before = os.getcwd()
    except OSError:  # it was removed: no relative path leads anywhere
        yield
        return
    yield
    now = os.getcwd()
    if now != before:
        os.chdir(before)
        raise ConfigError(
            f"{what}: changes the working folder to {now}, from where other paths lead elsewhere",
            action="use whole paths in it",
        )


@contextmanager
def coming_back() -> Iterator[None]:
    """Goes back to the working folder, which code of others may leave, at the end of the block."""
    before = os.open(".", os.O_RDONLY)
    try:
        yield
    finally:
        os.fchdir(before)
        os.close(before)


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Makes whatever the code of others raises inside a ConfigError that begins with `what`.

    That is so for SystemExit, too, which would end the command as if it were done; it is not for
    Ctrl-C. A change of the working folder is refused.
    """
    with staying(what):
        try:
            yield
        except KeyboardInterrupt:
            raise
        except GsDensifyError as error:
            raise ConfigError(
                f"{what}: {error.found_where}", expected=error.expected, action=error.action
            ) from error
        except BaseException as error:
            raise ConfigError(f"{what}: {described(error)}") from error
