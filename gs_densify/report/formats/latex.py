r"""A report as LaTeX for papers: booktabs, the best in bold, the second underlined.

The preamble needs `\usepackage{booktabs}`; each table is a `tabular` in a `table`.
"""

from gs_densify.report.formats import grid
from gs_densify.report.marks import MarksTable
from gs_densify.report.report import Report, Table

_ESCAPES = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "|": r"\textbar{}",
    # At the start of a row it would be an argument of the line's end before.
    **{character: f"{{{character}}}" for character in "[]*"},
}


def write(report: Report) -> str:
    """Returns a table for each scene and mean, and what stands under them as comments."""
    marks = grid.marks(report, "bold:", "underlined:", "~ behind a difference:")
    notes = "\n".join(f"% {line}" for line in (marks, *grid.footnotes(report)))
    head = "% needs \\usepackage{booktabs}"
    tables = [_table(report, table) for table in report.tables]
    tables += [_marks_table(table) for table in report.marks]
    return "\n".join([head, *tables, notes]) + "\n"


def escaped(text: str) -> str:
    """Returns a text that LaTeX prints as it is."""
    return "".join(_ESCAPES.get(character, character) for character in text)


def _table(report: Report, table: Table) -> str:
    columns = grid.columns(report, table)
    arrows = [
        (r" $\uparrow$" if one.higher_is_better else r" $\downarrow$") if one.is_score else ""
        for one in columns
    ]
    header = [
        "method",
        *(escaped(grid.heading(one)) + arrow for one, arrow in zip(columns, arrows, strict=True)),
    ]
    rows = [
        [
            escaped(grid.name_of(row)),
            *(_cell(grid.shown(one, row.cells.get(one.name))) for one in columns),
        ]
        for row in table.rows
    ]
    return _tabular(grid.titled(table), header, rows)


def _marks_table(table: MarksTable) -> str:
    header, rows = grid.marks_cells(table)
    return _tabular(grid.marks_title(table), header, [[escaped(c) for c in row] for row in rows])


def _tabular(title: str, header: list[str], rows: list[list[str]]) -> str:
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escaped(title)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
        r"\toprule",
        _line(header),
        r"\midrule",
        *map(_line, rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines)


def _line(cells: list[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _cell(cell: grid.Shown) -> str:
    number = escaped(cell.mean)
    number = {1: rf"\textbf{{{number}}}", 2: rf"\underline{{{number}}}", None: number}[cell.rank]
    if cell.std:
        number += rf" $\pm$ {escaped(cell.std)}"
    if cell.difference:
        noise = r"\textasciitilde{}" if cell.is_noise else ""
        number += rf" ($\Delta$ {escaped(cell.difference)}{noise})"
    return number
