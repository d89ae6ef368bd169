"""The page itself: a template with the tables, the plots, and data for its script."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from markupsafe import Markup

from gs_densify.report.differences import OptionDifference
from gs_densify.report.formats import grid
from gs_densify.report.page.look import drawn_look
from gs_densify.report.page.template import filled
from gs_densify.report.page.views import scenes_of
from gs_densify.report.plots.draw import for_page
from gs_densify.report.plots.plot import Plot, looks_of
from gs_densify.report.quantities import Quantity
from gs_densify.report.report import Cell, Report, Table

_MINUS = "\N{MINUS SIGN}"


def page_text(report: Report, plots: Sequence[Plot]) -> str:
    """Returns the page.

    Raises:
        ResultError: scores or pictures of a run cannot be read.
    """
    looks = looks_of(report)
    return filled(
        "page.html",
        program="gs-report",
        title=_title(report),
        scenes=scenes_of(report),
        report=report,
        tables=[_table(report, table) for table in report.tables],
        published=_published(report),
        differences=[_difference(one) for one in report.differences],
        plots=list(_plots(report, plots)),
        look=lambda label, others=False: drawn_look(looks[label, others]),
        data={
            "looks": [drawn_look(looks[method.label, False]) for method in report.methods],
            "methods": [method.label for method in report.methods],
        },
    )


def _title(report: Report) -> str:
    count = len(report.methods)
    scenes = ", ".join(report.scenes) if len(report.scenes) < 4 else f"{len(report.scenes)} scenes"
    return f"{count} method{'s' if count > 1 else ''} on {scenes}"


def _table(report: Report, table: Table) -> dict[str, Any]:
    columns = grid.columns(report, table)
    return {
        "name": grid.titled(table),
        "columns": [(grid.heading(one), one.higher_is_better) for one in columns],
        "rows": [
            {
                "label": row.label,
                "published": row.published,
                "cells": [_cell(report, table, one, row.cells.get(one.name)) for one in columns],
                "seeds": len(row.seeds),
            }
            for row in table.rows
        ],
    }


def _cell(report: Report, table: Table, quantity: Quantity, cell: Cell | None) -> dict[str, Any]:
    shown = grid.shown(quantity, cell)
    difference = None if cell is None else cell.difference
    about, interval, text = "", "", shown.difference.replace("-", _MINUS)
    if difference is not None and shown.difference:
        unit = f" {quantity.unit}" if quantity.unit else ""
        pairs = "scene" if table.is_mean else "view"
        about = f"{text}{unit} from {report.baseline}, over {difference.n} {pairs}"
        about += "s" if difference.n != 1 else ""
        if shown.low:
            interval = f"{shown.low} to {shown.high}".replace("-", _MINUS)
            about += (
                f"; 95 % interval {interval}; p {shown.p if '<' in shown.p else f'= {shown.p}'}"
            )
    return {
        "value": None if cell is None else cell.spread.mean,
        "shown": shown,
        "difference": text,
        "about": about,
        "interval": interval,
    }


def _published(report: Report) -> dict[str, Any]:
    rows = [row for table in report.tables for row in table.rows]
    return {row.label: row.published for row in rows if row.published is not None}


def _difference(option: OptionDifference) -> dict[str, Any]:
    """Returns an option with what each method has, and whether that is what most have."""
    texts = {
        label: " or ".join(map(grid.value_text, values)) if values else None
        for label, values in option.values.items()
    }
    (usual, count), *_ = Counter(texts.values()).most_common(1)
    return {
        "name": option.name,
        "values": {
            label: {"text": text, "is_usual": count > 1 and text == usual}
            for label, text in texts.items()
        },
    }


def _plots(report: Report, plots: Sequence[Plot]) -> Iterator[dict[str, Any]]:
    """Yields the plots of each table, with the methods that any of them shows."""
    for position, table in enumerate(report.tables):
        own = [
            (i, plot)
            for i, plot in enumerate(plots)
            if plot.table == table.name
            and (not table.is_mean or plot.kind == "scores against costs")
        ]
        drawn = [
            {
                "kind": plot.kind,
                "title": plot.title,
                "svg": Markup(for_page(plot, f"plot{i}")),
            }
            for i, plot in own
        ]
        if drawn:
            looks = dict.fromkeys(look for _, plot in own for look in plot.looks)
            yield {
                "name": grid.titled(table),
                "is_open": position < 2,
                "looks": [(look.label, look.is_published, drawn_look(look)) for look in looks],
                "kinds": [
                    [plot for plot in drawn if plot["kind"] == kind]
                    for kind in dict.fromkeys(plot["kind"] for plot in drawn)
                ],
            }
