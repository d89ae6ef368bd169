"""Plots as files and as pictures within a page, with matplotlib and without its global state."""

import io
import re
import warnings
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gs_densify.report.plots.plot import COLORS, GRID, INK, MUTED, PAPER, Look, Plot

DPI = 150
_TOP, _RIGHT, _BOTTOM = 0.32, 0.15, 0.52
"""Room around the axes, inches."""

_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.5,
    "text.color": INK,
    "text.parse_math": False,  # a $ in a label is a dollar
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "xtick.labelsize": "medium",
    "ytick.labelcolor": INK,
    "ytick.labelsize": "medium",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "lines.markersize": 6.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}


def as_file(plot: Plot, kind: str) -> bytes:
    """Returns a PNG or SVG on white with a title and a legend; the same bytes for the same plot."""
    with _style(plot, {"svg.fonttype": "path"}):
        figure, axes = _figure(plot)
        axes.set_title(f"{plot.of}: {plot.title}")
        if plot.looks:
            axes.legend(
                handles=[_handle(look) for look in plot.looks],
                loc="upper left",
                bbox_to_anchor=(1.02, 1.0),
                borderaxespad=0.0,
            )
        return _saved(figure, kind, bbox_inches="tight", pad_inches=0.1, facecolor=PAPER)


def for_page(plot: Plot, prefix: str) -> str:
    """Returns an SVG element without background and legend, whose colours the page chooses.

    Its text is text in the page's font. Ink is `currentColor`, others are the custom properties
    `--muted`, `--grid`, `--paper` and `--c0` to `--c7`. Names inside begin with `prefix`, as
    several of them stand in one page.
    """
    larger = {"font.size": plot.page_text, "lines.markersize": 8.0, "lines.linewidth": 1.7}
    with _style(plot, {"svg.fonttype": "none", **larger}):
        figure, _ = _figure(plot, top=0.1, extra=0.12)
        text = _saved(figure, "svg", transparent=True).decode()
    text = text[text.index("<svg") :].strip()
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", text)
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", text)
    return re.sub("|".join(_IN_PAGE), lambda match: _IN_PAGE[match.group()], text)


_IN_PAGE = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    PAPER: "var(--paper)",
    **{color: f"var(--c{i})" for i, color in enumerate(COLORS)},
}


def marker(look: Look) -> dict[str, Any]:
    """Returns how the points of a method are drawn; of others hollow."""
    return {
        "marker": look.marker,
        "color": look.color,
        "markerfacecolor": "none" if look.is_published else look.color,
        "markeredgecolor": look.color if look.is_published else PAPER,
        "markeredgewidth": 1.2 if look.is_published else 0.6,
    }


def _handle(look: Look) -> Line2D:
    label = f"{look.label} [published]" if look.is_published else look.label
    if label.startswith("_"):  # which matplotlib would leave out
        label = f"\N{ZERO WIDTH SPACE}{label}"
    return Line2D([], [], linestyle="none", label=label, **marker(look))


def _style(plot: Plot, more: dict[str, Any]) -> Any:
    return matplotlib.rc_context({**_STYLE, "svg.hashsalt": plot.name, **more})


def _figure(plot: Plot, *, top: float = _TOP, extra: float = 0.0) -> tuple[Figure, Any]:
    """Returns a figure with `extra` inches for larger text, and its axes with what is drawn."""
    left, bottom = plot.left + extra, _BOTTOM + extra
    width, height = left + plot.width + _RIGHT, bottom + plot.height + top
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes(
        (left / width, bottom / height, plot.width / width, plot.height / height)
    )
    plot.draw(axes)
    return figure, axes


def _saved(figure: Figure, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of characters that the font lacks, which show as boxes
        figure.savefig(buffer, format=kind, dpi=DPI, metadata=metadata, **options)
    return buffer.getvalue()


def scale(axis: Any, values: Sequence[float], *, logarithmic: bool) -> None:
    """Sets an axis for positive values: short numbers, and few of them."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    if logarithmic:
        axis._set_axes_scale("log")
        decades = max(values) / min(values) > 100
        axis.set_major_locator(LogLocator(subs=(1.0,) if decades else (1.0, 2.0, 5.0)))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))


def short(value: float) -> str:
    """Returns a number for an axis: `250k`, `1.5M`, `0.035`."""
    for limit, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.4g}{letter}"
    return f"{value:.4g}"
