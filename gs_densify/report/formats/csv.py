"""A report as one CSV table: a line for each table, method and quantity, with full precision."""

import csv
import io
from collections.abc import Iterator

from gs_densify.report.marks import MarksTable
from gs_densify.report.report import Report

COLUMNS = (
    *("table", "method", "quantity", "unit", "mean", "std", "seeds", "rank"),
    *("baseline", "difference", "low", "high", "p", "pairs", "published"),
)


def write(report: Report) -> str:
    """Returns the lines, with a header; empty where there is no value."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for table in report.tables:
        for row in table.rows:
            source = None if row.published is None else row.published.source
            for one in report.quantities:
                cell = row.cells.get(one.name)
                if cell is None or cell.spread.mean is None:
                    continue
                spread, d = cell.spread, cell.difference
                difference = [None] * 5 if d is None else [d.mean, d.low, d.high, d.p, d.n]
                seeds = len(row.seeds) or None
                base = None if d is None else report.baseline
                values = [table.name, row.label, one.name, one.unit, spread.mean, spread.std]
                writer.writerow([*values, seeds, cell.rank, base, *difference, source])
    for marked in report.marks:
        writer.writerows(_marks(marked))
    return file.getvalue()


def _marks(table: MarksTable) -> Iterator[list[str | float | None]]:
    for row in table.rows:
        for mark, found in zip(table.marks, row.seconds, strict=True):
            if found.mean is not None:
                name = f"seconds_to_psnr_{mark:g}"
                values: list[str | float | None] = [table.name, row.label, name, "s"]
                values += [found.mean, found.std, found.n]
                yield [*values, *[None] * (len(COLUMNS) - len(values))]
