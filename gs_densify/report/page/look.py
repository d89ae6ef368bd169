"""The markers of methods, as a page draws them."""

from typing import Any

from gs_densify.report.plots.plot import COLORS, Look

_SHAPES = {
    "o": "M6 1.5a4.5 4.5 0 1 0 0 9a4.5 4.5 0 1 0 0-9z",
    "s": "M2 2h8v8H2z",
    "^": "M6 1.5L10.9 10H1.1z",
    "D": "M6 .8L11.2 6L6 11.2L.8 6z",
    "v": "M6 10.5L1.1 2H10.9z",
    "<": "M1.5 6L10 1.1V10.9z",
    ">": "M10.5 6L2 1.1V10.9z",
    "p": "M6 1L11 4.7L9.1 10.6H2.9L1 4.7z",
    "h": "M6 .8L10.5 3.4V8.6L6 11.2L1.5 8.6V3.4z",
}
"""Markers of plots as paths in a square of 12."""


def drawn_look(look: Look) -> dict[str, Any]:
    """Returns a marker for the templates and the script."""
    color = "var(--muted)" if look.is_published else f"var(--c{COLORS.index(look.color)})"
    return {"color": color, "path": _SHAPES[look.marker], "hollow": look.is_published}
