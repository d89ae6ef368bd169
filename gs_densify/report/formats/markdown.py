"""A report as Markdown: the best in bold, the second underlined with `<u>`."""

from gs_densify.report.formats import grid
from gs_densify.report.marks import MarksTable
from gs_densify.report.report import Report, Table


def write(report: Report) -> str:
    """Returns a section for each table, then notes as a list."""
    marks = grid.marks(report, "**bold**:", "<u>underlined</u>:", "~:")
    notes = "\n".join(f"- {_escaped(line)}" for line in grid.footnotes(report))
    return f"{tables_text(report)}\n- {marks}\n{notes}\n"


def tables_text(report: Report) -> str:
    """Returns the tables, with a heading each."""
    parts = {_escaped(grid.titled(table)): table_text(report, table) for table in report.tables}
    parts |= {_escaped(grid.marks_title(table)): _marks_text(table) for table in report.marks}
    return "\n".join(f"### {title}\n\n{text}" for title, text in parts.items())


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


def _marks_text(table: MarksTable) -> str:
    header, rows = grid.marks_cells(table)
    lines = [_line(header), _line(["---", *["---:"] * (len(header) - 1)])]
    return "\n".join([*lines, *(_line([_escaped(n), *cells]) for n, *cells in rows)]) + "\n"


def _cell(cell: grid.Shown) -> str:
    text = grid.plain(cell) + (" ~" if cell.is_noise else "")
    return {1: f"**{text}**", 2: f"<u>{text}</u>", None: text}[cell.rank]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    for character in "\\`|<*_[":
        text = text.replace(character, f"\\{character}")
    return text
