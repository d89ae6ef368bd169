"""What a plot is before it is drawn, and how methods look in all of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gs_densify.report.report import Report

INK = "#1b1c20"
MUTED = "#6b6e76"
GRID = "#e4e5e9"
PAPER = "#ffffff"

COLORS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7"),
    *("#e69f00", "#56b4e9", "#7a5195", "#8c6d46"),
)
"""Okabe and Ito's colours, which people with any colour vision tell apart, without the yellow and
the black, which one of two backgrounds swallows; then a violet and a brown."""
MARKERS = ("o", "s", "^", "D", "v", "<", ">", "p", "h")
"""One more than colours, so that both together come back only after 72 methods."""


@dataclass(frozen=True)
class Look:
    """How a method is drawn: by its position among the methods, in every plot alike."""

    label: str
    color: str
    marker: str
    is_published: bool = False
    """Drawn hollow."""


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A picture with one pair of axes."""

    name: str
    """Of its files, without an ending."""
    kind: str
    """One of `KINDS`."""
    table: str
    """The name of the scene or mean that it is of."""
    of: str
    """That as a heading says it."""
    title: str
    draw: Callable[[Any], None]
    """Draws into matplotlib's axes."""
    looks: Sequence[Look]
    """What is drawn, for a legend."""
    width: float = 4.4
    """Of the axes, inches."""
    height: float = 3.0
    left: float = 0.75
    """Room for what stands beside the axes, inches."""
    page_text: float = 12.0
    """Points of text in a page, which shows plots smaller than paper does."""


@dataclass(frozen=True)
class LeftOut:
    """A plot for which there are no numbers."""

    title: str
    reason: str


def looks_of(report: Report) -> dict[tuple[str, bool], Look]:
    """Returns the looks of methods, by label and whether they are others'."""
    looks = {
        (method.label, False): _look(method.label, COLORS[i % len(COLORS)], i)
        for i, method in enumerate(report.methods)
    }
    others = dict.fromkeys(
        row.label for table in report.tables for row in table.rows if row.published is not None
    )
    for i, label in enumerate(others):
        looks[label, True] = _look(label, MUTED, i, is_published=True)
    return looks


def _look(label: str, color: str, position: int, *, is_published: bool = False) -> Look:
    return Look(plain_text(label), color, MARKERS[position % len(MARKERS)], is_published)


def plain_text(text: str) -> str:
    """Returns a text of one line that XML can hold."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def spans(values: Sequence[float], factor: float = 5.0) -> bool:
    """Returns whether positive values span more than a factor, so that an axis is logarithmic."""
    return bool(values) and min(values) > 0 and max(values) > factor * min(values)
