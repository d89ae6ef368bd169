"""One HTML page with everything of a report, which needs no network and no other file."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

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
    from gs_densify.results import atomic_write

    text = page_text(report, plots)
    with atomic_write(path) as file:
        # Names of files may hold what no text can: bytes that are no UTF-8.
        file.write(text.encode("utf-8", "xmlcharrefreplace"))
