"""The cells of a table as texts, for every format that shows rows and columns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gs_densify.report.marks import MarksTable
from gs_densify.report.quantities import Quantity
from gs_densify.report.report import Cell, Report, Row, Table
from gs_densify.report.statistics import Spread
from gs_densify.results.encode import encode


@dataclass(frozen=True)
class Shown:
    """A cell, as texts to be put together."""

    mean: str
    std: str
    """Empty for one seed."""
    difference: str
    """From the baseline; empty without one."""
    low: str
    high: str
    """Of the interval around the difference; empty likewise."""
    p: str
    is_noise: bool
    """Whether the pairs do not tell the difference from none."""
    rank: int | None


_EMPTY = Shown("-", "", "", "", "", "", False, None)


def columns(report: Report, table: Table) -> list[Quantity]:
    """Returns the quantities of which any row of the table has a value."""
    return [
        one
        for one in report.quantities
        if any(
            (cell := row.cells.get(one.name)) is not None and cell.spread.mean is not None
            for row in table.rows
        )
    ]


def shown(quantity: Quantity, cell: Cell | None) -> Shown:
    """Returns the texts of a cell."""
    if cell is None or cell.spread.mean is None:
        return _EMPTY
    spread, difference = cell.spread, cell.difference
    return Shown(
        mean=quantity.text(spread.mean),
        std="" if spread.std is None else quantity.text(spread.std),
        difference="" if difference is None else quantity.text(difference.mean, sign="+"),
        low="" if difference is None else _bound(quantity, difference.low),
        high="" if difference is None else _bound(quantity, difference.high),
        p="" if difference is None else p_text(difference.p),
        is_noise=difference is not None and difference.is_noise,
        rank=cell.rank,
    )


def _bound(quantity: Quantity, value: float | None) -> str:
    return "" if value is None else quantity.text(value, sign="+")


def p_text(p: float | None) -> str:
    """Returns a probability with as many digits as mean something."""
    if p is None:
        return ""
    return "< .001" if p < 0.001 else f"{p:.3f}".lstrip("0")


def plain(cell: Shown) -> str:
    """Returns a cell in characters that every terminal has: `27.86 ± 0.02 (+0.94, p < .001)`."""
    text = f"{cell.mean} ± {cell.std}" if cell.std else cell.mean
    if cell.difference:
        p = f", p {cell.p if cell.p.startswith('<') else f'= {cell.p}'}" if cell.p else ""
        text += f" ({cell.difference}{p})"
    return text


def marks(report: Report, best: str, second: str, noise: str) -> str:
    """Returns what the marks of a format mean."""
    text = f"{best} best, {second} second"
    if report.baseline is not None:
        text += f", {noise} not told from no difference (the 95 % interval has 0 in it)"
    return text


def titled(table: Table) -> str:
    """Returns what stands above a table."""
    return f"{table.name} of {', '.join(table.scenes)}" if table.is_mean else table.name


def heading(quantity: Quantity) -> str:
    """Returns the heading of a column with its unit."""
    return f"{quantity.label} ({quantity.unit})" if quantity.unit else quantity.label


def name_of(row: Row) -> str:
    """Returns a row's name; numbers of others say so."""
    label = " ".join(row.label.split())
    return f"{label} [published]" if row.published is not None else label


def marks_cells(table: MarksTable) -> tuple[list[str], list[list[str]]]:
    """Returns header and rows of the seconds until marks were passed, `-` where they were not."""
    header = ["seconds until", *(f"{mark:g} dB" for mark in table.marks), "seeds"]
    rows = [[one.label, *map(_seconds, one.seconds), str(one.num_seeds)] for one in table.rows]
    return header, rows


def _seconds(spread: Spread) -> str:
    if spread.mean is None:
        return "-"
    return f"{spread.mean:,.1f}" + ("" if spread.std is None else f" ± {spread.std:,.1f}")


def marks_title(table: MarksTable) -> str:
    """Returns what stands above a table of marks."""
    return f"{table.name}: training until a PSNR"


def footnotes(report: Report) -> Iterator[str]:
    """Yields what stands under the tables, a line each."""
    yield from (" ".join(line.split()) for line in _footnotes(report))


def _footnotes(report: Report) -> Iterator[str]:
    names = ", ".join(report.protocols)
    yield f"protocol{'s' if len(report.protocols) > 1 else ''}: {names}"
    if report.baseline is not None:
        yield (
            f"differences are from {report.baseline}: paired over the views of a scene, or over"
            " scenes; p: Student's t test of the pairs, two-sided; what seeds do is in ±"
        )
    if report.marks:
        yield (
            "a PSNR is passed at the first evaluation that has it; seconds are of training alone,"
            " without evaluations; -: not every seed came so far"
        )
    yield from (
        f"{row.label} on {table.name}: seeds were evaluated after different steps"
        for table in report.marks
        for row in table.rows
        if not row.is_evaluated_alike
    )
    yield from report.notes
    for one in report.differences:
        yield f"{one.name}: {values_text(one.values)}"
    rows = [row.published for table in report.tables for row in table.rows]
    for published in {id(one): one for one in rows if one is not None}.values():
        yield f"{published.method}, published: {published.source}; {published.protocol}"
    for run in report.unfinished:
        step = "no step" if run.step is None else f"step {run.step:,}"
        yield f"not finished, {step}: {run.path}"


def values_text(values: Mapping[str, list[object]]) -> str:
    """Returns which methods have which values of an option, the most common last."""
    groups: dict[str, list[str]] = {}
    for label, found in values.items():
        text = " or ".join(value_text(value) for value in found) if found else "has no such option"
        groups.setdefault(text, []).append(label)
    ordered = sorted(groups.items(), key=lambda item: len(item[1]))
    if len(ordered) > 1 and len(ordered[-1][1]) > 1:
        *few, (rest, _) = ordered
        return "; ".join([*(f"{', '.join(m)}: {text}" for text, m in few), f"others: {rest}"])
    return "; ".join(f"{', '.join(members)}: {text}" for text, members in ordered)


def value_text(value: object) -> str:
    """Returns the value of an option as it is read, not as it is typed."""
    value = encode(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(str, value)) + "]"
    return "none" if value is None else str(value)
