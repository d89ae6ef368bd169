"""A report for a terminal: `*` marks the best of a table, `+` the second, `~` what is noise."""

from collections.abc import Sequence

from gs_densify.report.formats import grid
from gs_densify.report.report import Report, Table

_MARKS = {1: "*", 2: "+", None: " "}


def write(report: Report) -> str:
    """Returns the tables, then what a reader has to know of them."""
    parts = ["\n".join(_table(report, table)) for table in report.tables]
    for marked in report.marks:
        parts.append("\n".join([grid.marks_title(marked), *aligned(*grid.marks_cells(marked))]))
    notes = [grid.marks(report, "*", "+", "~"), *grid.footnotes(report)]
    return "\n\n".join([*parts, "\n".join(notes)]) + "\n"


def _table(report: Report, table: Table) -> list[str]:
    columns = grid.columns(report, table)
    header = ["method", *(grid.heading(one) for one in columns), "seeds"]
    rows = []
    for row in table.rows:
        cells = [grid.shown(one, row.cells.get(one.name)) for one in columns]
        marked = [
            f"{grid.plain(cell)}{'~' if cell.is_noise else ''}{_MARKS[cell.rank]}" for cell in cells
        ]
        rows.append([grid.name_of(row), *marked, str(len(row.seeds)) if row.seeds else "-"])
    return [grid.titled(table), *aligned(header, rows)]


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns lines with names to the left and numbers to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (header, *rows)
    ]
