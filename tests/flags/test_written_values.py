"""Numbers as people write them, and which words a type takes."""

import math
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gs_densify.flags.values import described, fits, looks_like_a_flag, number, whole_number

UNITS = {"": 1, "k": 10**3, "K": 10**3, "m": 10**6, "M": 10**6, "e3": 10**3, "E+6": 10**6}


@given(st.integers(-(10**9), 10**9), st.sampled_from(sorted(UNITS)))
def test_a_whole_number_with_a_unit_is_exact(count: int, unit: str) -> None:
    assert whole_number(f"{count}{unit}") == count * UNITS[unit]
    assert number(f"{count}{unit}") == count * UNITS[unit]


@given(st.integers(1, 999), st.integers(0, 999))
def test_a_fraction_of_a_unit_is_exact_or_refused(whole: int, part: int) -> None:
    assert whole_number(f"{whole}.{part:03d}k") == whole * 1000 + part
    text = f"{whole}.{part:03d}"
    if part:
        with pytest.raises(ValueError, match="no whole number"):
            whole_number(text)
    else:
        assert whole_number(text) == whole


@given(st.text(max_size=8))
def test_whatever_is_written_is_a_number_or_refused(text: str) -> None:
    for read, kind in ((whole_number, int), (number, float)):
        try:
            assert type(read(text)) is kind
        except ValueError:
            pass


@given(st.floats(allow_nan=False))
def test_a_number_is_what_python_makes_of_it(value: float) -> None:
    assert number(repr(value)) == value


@pytest.mark.parametrize(
    "text",
    ["", "k", "many", "1kk", "1 000 k", "1e999999999", "1e19", "inf", "nan", "0x10", "1,000"],
)
def test_what_is_no_whole_number(text: str) -> None:
    with pytest.raises(ValueError):
        whole_number(text)


def test_numbers_without_end_stay_numbers() -> None:
    assert number("inf") == math.inf and math.isnan(number("nan"))


@pytest.mark.parametrize(
    ("word", "is_flag"),
    [
        ("--steps", True),
        ("-h", True),
        ("-5", False),
        ("-1e6", False),
        ("-inf", False),
        ("a", False),
    ],
)
def test_negative_numbers_are_no_flags(word: str, is_flag: bool) -> None:
    assert looks_like_a_flag(word) is is_flag


@pytest.mark.parametrize(
    ("hint", "words", "is_one", "text"),
    [
        (int, ["7k"], True, "a whole number (7000, 7k, 1M)"),
        (int, ["1.5"], False, "a whole number (7000, 7k, 1M)"),
        (int | None, ["None"], True, "a whole number (7000, 7k, 1M)"),
        (float | Literal["auto"], ["auto"], True, "a number or auto"),
        (float | Literal["auto"], ["atuo"], False, "a number or auto"),
        (Literal["a", "b", "c"], ["d"], False, "a, b or c"),
        (tuple[int, int] | None, ["1"], False, "2 whole numbers"),
        (tuple[int, int] | None, ["1", "2"], True, "2 whole numbers"),
        (tuple[float, ...], [], True, "numbers"),
        (tuple[float, ...], ["1", "x"], False, "numbers"),
        (tuple[str, int], ["x", "1"], True, "2 texts"),
        (list[Path], ["x", "y"], True, "paths"),
        (list, ["x"], True, "texts"),
        (Path, [], False, "a path"),
        (str, ["x"], True, "a text"),
    ],
)
def test_what_a_type_takes(hint: object, words: list[str], is_one: bool, text: str) -> None:
    assert fits(hint, words) is is_one
    assert described(hint) == text
