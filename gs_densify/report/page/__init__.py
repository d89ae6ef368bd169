"""HTML pages of a report, or of one run, which need no network and no other file."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gs_densify.results import atomic_write
from gs_densify.results.names import INDEX

if TYPE_CHECKING:
    from gs_densify.report.plots.plot import Plot
    from gs_densify.report.report import Report


def save_page(path: Path, report: "Report", plots: "Sequence[Plot]") -> None:
    """Writes the page.

    Args:
        path: of the file.
        report: what it shows.
        plots: of that report.

    Raises:
        ResultError: the file cannot be written, or a picture or scores of a run cannot be read.
    """
    from gs_densify.report.page.page import page_text

    _save(path, page_text(report, plots))


def save_run_page(folder: Path) -> Path:
    """Writes `index.html` into the folder of a run or of an evaluation; returns its path.

    Raises:
        ResultError: it cannot be written, or a picture or scores of the run cannot be read.
    """
    from gs_densify.report.page.run_page import run_page_text

    path = folder / INDEX
    _save(path, run_page_text(folder))
    return path


def _save(path: Path, text: str) -> None:
    with atomic_write(path) as file:
        # Names of files may hold what no text can: bytes that are no UTF-8.
        file.write(text.encode("utf-8", "xmlcharrefreplace"))
