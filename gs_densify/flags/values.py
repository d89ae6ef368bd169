"""What people write for a value on a command line or in a file. Standard library only."""

import re
import types
import typing
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal, Union

_UNITS = {"k": 3, "m": 6}
"""Powers of ten."""
_WITH_UNIT = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)([kKmM])")
_MOST_DIGITS = 18
"""Of a whole number with an exponent or a unit: 1e999999999 would have no memory."""


def whole_number(text: str) -> int:
    """Returns 7000 for 7000, 7_000, 7k and 7e3; M stands for a million.

    Raises:
        ValueError: it is something else.
    """
    try:
        return int(text)
    except ValueError:
        value = _decimal(text)
    is_whole = value.is_finite() and value.adjusted() <= _MOST_DIGITS and value % 1 == 0
    if not is_whole:
        raise ValueError(f"{text!r} is no whole number")
    return int(value)


def number(text: str) -> float:
    """Returns a number; k stands for a thousand and M for a million.

    Raises:
        ValueError: it is something else.
    """
    return float(_decimal(text)) if _WITH_UNIT.fullmatch(text) else float(text)


def _decimal(text: str) -> Decimal:
    match = _WITH_UNIT.fullmatch(text)
    try:
        return Decimal(text) if match is None else Decimal(f"{match[1]}").scaleb(_power(match[2]))
    except InvalidOperation:
        raise ValueError(f"{text!r} is no number") from None


def _power(unit: str) -> int:
    return _UNITS[unit.lower()]


def looks_like_a_flag(word: str) -> bool:
    """Returns whether a word of a command line names an option: a minus, and no number."""
    if not word.startswith("-") or not word.lstrip("-")[:1].isalpha():
        return False
    try:
        number(word)
    except ValueError:
        return True
    return False


def parts_of(hint: Any) -> tuple[Any, ...]:
    """Returns the types of a union, and any other type alone."""
    is_union = typing.get_origin(hint) in (Union, types.UnionType)
    return typing.get_args(hint) if is_union else (hint,)


def most_words(hint: Any) -> float:
    """Returns how many words a value of a type may have: as many as there are, where types of a
    union differ in that.
    """
    counts = {_counts(part) for part in parts_of(hint)}
    return float("inf") if len(counts) > 1 else counts.pop()[1]


def least_words(hint: Any) -> int:
    """Returns how many words a value of a type has at least."""
    return min(_counts(part)[0] for part in parts_of(hint))


def _counts(hint: Any) -> tuple[int, float]:
    if not is_sequence(hint):
        return 1, 1
    items = typing.get_args(hint)
    is_fixed = typing.get_origin(hint) is tuple and Ellipsis not in items
    return (len(items), len(items)) if is_fixed else (0, float("inf"))


def is_sequence(hint: Any) -> bool:
    """Returns whether a type, no union, is a tuple or list."""
    return (typing.get_origin(hint) or hint) in (tuple, list)


def types_in(hint: Any) -> list[Any]:
    """Returns the types of the items of a tuple or list; of one that says nothing, text."""
    return [one for one in typing.get_args(hint) if one is not Ellipsis] or [str]


def fits(hint: Any, words: Sequence[str]) -> bool:
    """Returns whether words are a value of a type."""
    return any(_fits_one(part, words) for part in parts_of(hint))


def _fits_one(hint: Any, words: Sequence[str]) -> bool:
    if is_sequence(hint):
        least, most = _counts(hint)
        items = types_in(hint)
        each = items if len(items) == len(words) else [items[0]] * len(words)
        return least <= len(words) <= most and all(map(fits, each, ([word] for word in words)))
    if len(words) != 1:
        return False
    if hint in (int, float):
        try:
            (whole_number if hint is int else number)(words[0])
        except ValueError:
            return False
    if hint is Path:
        return bool(words[0])  # as of a variable that is not set; it would be the working folder
    choices = choices_of(hint)
    return choices is None or words[0] in choices


def choices_of(hint: Any) -> tuple[str, ...] | None:
    """Returns the only words that a type takes, where there are any such; not those of a union."""
    if typing.get_origin(hint) is Literal:
        return tuple(map(str, typing.get_args(hint)))
    if hint is bool:
        return ("True", "False")
    return ("None",) if hint in (None, type(None)) else None


_WORDS = {
    int: ("a whole number (7000, 7k, 1M)", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("a text", "texts"),
}


def described(hint: Any) -> str:
    """Returns in words what a type takes, but for None."""
    parts = [part for part in parts_of(hint) if part is not type(None)] or [hint]
    return " or ".join(_described_one(part, 0) for part in parts)


def _described_one(hint: Any, plural: Literal[0, 1]) -> str:
    if is_sequence(hint):
        count = _counts(hint)[0]
        return " ".join([*[str(count)] * bool(count), _described_one(types_in(hint)[0], 1)])
    choices = choices_of(hint)
    if choices is not None:
        return " or ".join([*[", ".join(choices[:-1])] * (len(choices) > 1), choices[-1]])
    return _WORDS.get(hint, ("a path", "paths"))[plural]
