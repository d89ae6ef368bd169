"""A report as Markdown: the best in bold, the second underlined with `<u>`."""

from gs_densify.report.formats import grid
from gs_densify.report.report import Report, Table


def write(report: Report) -> str:
    """Returns a section for each table, then notes as a list."""
    parts = [
        f"### {_escaped(grid.titled(table))}\n\n{table_text(report, table)}"
        for table in report.tables
    ]
    notes = "\n".join(f"- {_escaped(line)}" for line in grid.footnotes(report))
    marks = grid.marks(report, "**bold**:", "<u>underlined</u>:", "~:")
    return "\n".join([*parts, f"- {marks}", notes]) + "\n"


def table_text(report: Report, table: Table) -> str:
    """Returns the lines of one table."""
    columns = grid.columns(report, table)
    header = ["method", *(_escaped(grid.heading(one)) for one in columns), "seeds"]
    lines = [_line(header), _line(["---", *["---:"] * (len(columns) + 1)])]
    for row in table.rows:
        cells = [_cell(grid.shown(one, row.cells.get(one.name))) for one in columns]
        seeds = str(len(row.seeds)) if row.seeds else "-"
        lines.append(_line([_escaped(grid.name_of(row)), *cells, seeds]))
    return "\n".join(lines) + "\n"


def _cell(cell: grid.Shown) -> str:
    text = grid.plain(cell) + (" ~" if cell.is_noise else "")
    return {1: f"**{text}**", 2: f"<u>{text}</u>", None: text}[cell.rank]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    for character in "\\`|<*_[":
        text = text.replace(character, f"\\{character}")
    return text
