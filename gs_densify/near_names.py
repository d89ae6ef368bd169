"""The known name that was probably meant by one that is not. Standard library only."""

import difflib
from collections.abc import Iterable

_LIKENESS = 0.7
"""Of 1: a letter of five may be another; half of a word is no misspelling of it."""

_FEW = 4


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns `did you mean X?` with the known name nearest to `name`; empty where none is near."""
    nearest = nearest_name(name, known)
    return "" if nearest is None else f"did you mean {nearest}?"


def known_or_meant(name: str, known: Iterable[str]) -> str:
    """Returns `did you mean X?`; all that is known where that is little, or no name is near."""
    names = [*known]
    near = did_you_mean(name, names) if len(names) > _FEW else ""
    return near or f"known: {', '.join(names) or 'none'}"


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """Returns the known name nearest to `name`, whatever its case and hyphens; None without one."""
    by_key = {_key(one): one for one in known}
    near = difflib.get_close_matches(_key(name), by_key, n=1, cutoff=_LIKENESS)
    return by_key[near[0]] if near else None


def _key(name: str) -> str:
    return name.casefold().replace("_", "-")
