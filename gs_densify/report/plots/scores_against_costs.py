"""Each metric against Gaussians and against training time, a point for each method."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gs_densify.report.formats.grid import heading, titled
from gs_densify.report.plots.plot import MUTED, LeftOut, Look, Plot, looks_of, plain_text, spans
from gs_densify.report.quantities import Quantity
from gs_densify.report.record import slug
from gs_densify.report.report import Report, Table
from gs_densify.report.statistics import Spread

_COSTS = {"num_gaussians": "Gaussians", "train_seconds": "training time"}


@dataclass(frozen=True)
class _Point:
    """A method: what it costs, and what it reaches, with what seeds do to both."""

    look: Look
    cost: float
    score: float
    cost_std: float | None
    score_std: float | None


def plots(report: Report) -> Iterator[Plot | LeftOut]:
    """Yields a plot for each table, metric and cost."""
    looks = looks_of(report)
    costs = [one for one in report.quantities if one.name in _COSTS]
    for table in report.tables:
        for cost in costs:
            for score in (one for one in report.quantities if one.is_score):
                yield _plot(table, score, cost, looks)


def _plot(
    table: Table, score: Quantity, cost: Quantity, looks: dict[tuple[str, bool], Look]
) -> Plot | LeftOut:
    of = plain_text(titled(table))
    title = f"{plain_text(score.label)} against {_COSTS[cost.name]}"
    points = list(_points(table, score, cost, looks))
    if not any(not point.look.is_published for point in points):
        return LeftOut(f"{of}: {title}", "no run has both")
    return Plot(
        name=f"{slug(table.name)}_{slug(score.name)}_over_{cost.name}",
        kind="scores against costs",
        table=table.name,
        of=of,
        title=title,
        draw=lambda axes: _draw(axes, points, score, cost),
        looks=[point.look for point in points],
    )


def _points(
    table: Table, score: Quantity, cost: Quantity, looks: dict[tuple[str, bool], Look]
) -> Iterator[_Point]:
    for row in table.rows:
        x, y = (_spread(row.cells.get(one.name)) for one in (cost, score))
        if x is not None and y is not None and x.mean is not None and y.mean is not None:
            look = looks[row.label, row.published is not None]
            yield _Point(look, x.mean, y.mean, x.std, y.std)


def _spread(cell: Any) -> Spread | None:
    return None if cell is None else cell.spread


def front(
    points: Sequence[tuple[float, float]], higher_is_better: bool
) -> list[tuple[float, float]]:
    """Returns the points (cost, score) that none beats in both, by cost."""
    best: list[tuple[float, float]] = []
    for cost, score in sorted(points, key=lambda p: (p[0], -p[1] if higher_is_better else p[1])):
        if not best or (score > best[-1][1] if higher_is_better else score < best[-1][1]):
            best.append((cost, score))
    return best


def _draw(axes: Any, points: Sequence[_Point], score: Quantity, cost: Quantity) -> None:
    from gs_densify.report.plots.draw import marker, scale

    costs = [point.cost for point in points]
    scale(axes.xaxis, costs, logarithmic=spans(costs))
    scale(axes.yaxis, [point.score for point in points], logarithmic=False)
    for point in points:
        axes.errorbar(
            point.cost,
            point.score,
            xerr=point.cost_std,
            yerr=point.score_std,
            elinewidth=1.0,
            capsize=2.0,
            capthick=1.0,
            linestyle="none",
            zorder=3,
            **marker(point.look),
        )
    axes.margins(0.08)
    own = [(point.cost, point.score) for point in points if not point.look.is_published]
    best = front(own, score.higher_is_better)
    right = axes.get_xlim()[1]
    axes.plot(
        [*(x for x, _ in best), right],
        [*(y for _, y in best), best[-1][1]],
        drawstyle="steps-post",
        color=MUTED,
        linewidth=1.0,
        linestyle=(0, (4, 3)),
        zorder=2,
    )
    axes.set_xlim(right=right)
    axes.grid(True)
    arrow = "higher" if score.higher_is_better else "lower"
    axes.set_xlabel(f"{_COSTS[cost.name]}{f' ({cost.unit})' if cost.unit else ''}")
    axes.set_ylabel(f"{plain_text(heading(score))}, {arrow} is better")
