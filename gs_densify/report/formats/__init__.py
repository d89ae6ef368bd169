"""A report as text of some kind, one a file: `write(report) -> str`."""

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from gs_densify.report.report import Report

FORMATS: Mapping[str, str] = {
    "text": "gs_densify.report.formats.text",
    "markdown": "gs_densify.report.formats.markdown",
    "latex": "gs_densify.report.formats.latex",
    "csv": "gs_densify.report.formats.csv",
    "json": "gs_densify.report.formats.json",
}
"""Modules by the name of their format."""


def written(report: "Report", name: str) -> str:
    """Returns the report in one of `FORMATS`, with a line's end at its end."""
    return cast(str, importlib.import_module(FORMATS[name]).write(report))
