"""Plots of a report, a kind a file: `plots(report)` yields what is drawn and what is left out."""

import importlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gs_densify.errors import ConfigError

if TYPE_CHECKING:
    from gs_densify.report.plots.plot import LeftOut, Plot
    from gs_densify.report.report import Report

KINDS: Mapping[str, str] = {
    "scores against costs": "gs_densify.report.plots.scores_against_costs",
    "time lines": "gs_densify.report.plots.time_lines",
    "held-out views": "gs_densify.report.plots.views",
}
"""Modules by the name of their kind."""


def plots_of(report: "Report") -> "tuple[list[Plot], list[LeftOut]]":
    """Returns the plots of every kind, and those for which there are no numbers.

    Raises:
        ResultError: views or a time line of a run cannot be read.
    """
    from gs_densify.report.plots.plot import Plot

    found = [
        one for module in KINDS.values() for one in importlib.import_module(module).plots(report)
    ]
    plots = _with_names_of_their_own([one for one in found if isinstance(one, Plot)])
    return plots, [one for one in found if not isinstance(one, Plot)]


def _with_names_of_their_own(plots: "Sequence[Plot]") -> "list[Plot]":
    """Returns plots of which no two have one name, as those of scenes `a b` and `a-b` would."""
    seen: Counter[str] = Counter()
    named = []
    for plot in plots:
        seen[plot.name] += 1
        count = seen[plot.name]
        named.append(plot if count == 1 else replace(plot, name=f"{plot.name}_{count}"))
    return named


def save_plots(folder: Path, plots: "Sequence[Plot]") -> list[Path]:
    """Writes each plot as PNG and SVG into a folder, which is made; returns the files.

    Raises:
        ResultError: a file cannot be written.
    """
    from gs_densify.report.plots.draw import as_file
    from gs_densify.results import atomic_write

    written = []
    for plot in plots:
        for kind in ("png", "svg"):
            path = folder / f"{plot.name}.{kind}"
            with atomic_write(path) as file:
                file.write(as_file(plot, kind))
            written.append(path)
    return written


def check_matplotlib(option: str) -> None:
    """Refuses an option for which matplotlib is missing; ConfigError says how to install it."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"needs matplotlib, which cannot be imported here ({error})",
            action="run pip install 'gs-densify[report]'",
            option=option,
        ) from None
