"""Gaussians, loss and PSNR of a training, over its steps and over its seconds."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gs_densify.report.plots.plot import LeftOut, Look, Plot, looks_of, plain_text, spans
from gs_densify.report.record import slug
from gs_densify.report.report import Report
from gs_densify.report.runs import Run
from gs_densify.results import MetricsRow

_Line = list[tuple[int, float, float]]
"""Step, seconds and value of each point."""

_WINDOW = 9
"""Lines of the log in a running mean of the loss, which jumps from batch to batch."""
_SMOOTHED = 4 * _WINDOW
"""Lines of a log that is long enough for that."""
_AXES = {"steps": "step", "seconds": "training time (s)"}


@dataclass(frozen=True)
class _Shown:
    """A quantity of a time line."""

    name: str
    label: str
    read: Callable[[Run], _Line]
    too_few: str
    """Why there is no line, where runs have fewer than two points."""
    unit: str = ""
    is_noisy: bool = False
    marks: bool = False


def _of_rows(value: Callable[[MetricsRow], float | None]) -> Callable[[Run], _Line]:
    def read(run: Run) -> _Line:
        return [
            (row.step, row.train_seconds, found)
            for row in run.timeline
            if (found := value(row)) is not None
        ]

    return read


def _evaluations(run: Run) -> _Line:
    found = _of_rows(lambda row: row.psnr)(run)
    if found or run.results is None:
        return found
    return [
        (one.step, one.train_seconds, psnr)
        for one in run.results.evaluations
        if (psnr := one.scores.get("psnr")) is not None
    ]


_QUANTITIES = (
    _Shown(
        "num_gaussians", "Gaussians", _of_rows(lambda row: float(row.num_gaussians)), "no time line"
    ),
    _Shown(
        "loss",
        "loss",
        _of_rows(lambda row: row.loss),
        "no time line",
        is_noisy=True,
    ),
    _Shown(
        "psnr",
        "PSNR",
        _evaluations,
        "no run was evaluated more than once",
        unit=" (dB)",
        marks=True,
    ),
)


def plots(report: Report) -> Iterator[Plot | LeftOut]:
    """Yields two plots for each scene and quantity."""
    looks = looks_of(report)
    for scene in report.scenes:
        lines = {shown: _lines(report, scene, shown, looks) for shown in _QUANTITIES}
        for over in _AXES:
            yield from (_plot(scene, shown, over, own) for shown, own in lines.items() if own)
        for shown, own in lines.items():
            if not own:
                title = f"{plain_text(scene)}: {shown.label} over steps and seconds"
                yield LeftOut(title, shown.too_few)


def _lines(
    report: Report, scene: str, shown: _Shown, looks: Mapping[tuple[str, bool], Look]
) -> dict[Look, list[_Line]]:
    """Returns the lines of each method that has any, a seed each."""
    found = {
        looks[method.label, False]: [
            line for run in method.on(scene) if len(line := shown.read(run)) > 1
        ]
        for method in report.methods
    }
    return {look: lines for look, lines in found.items() if lines}


def _plot(scene: str, shown: _Shown, over: str, lines: dict[Look, list[_Line]]) -> Plot:
    return Plot(
        name=f"{slug(scene)}_{shown.name}_over_{over}",
        kind="time lines",
        table=scene,
        of=plain_text(scene),
        title=f"{shown.label} over {over}",
        draw=lambda axes: _draw(axes, shown, over, lines),
        looks=list(lines),
    )


def mean_line(lines: Sequence[_Line]) -> _Line:
    """Returns the mean of seeds, at the steps that all of them have."""
    by_step = [{step: (seconds, value) for step, seconds, value in line} for line in lines]
    steps = [step for step, *_ in lines[0] if all(step in other for other in by_step)]
    return [
        (
            step,
            float(np.mean([one[step][0] for one in by_step])),
            float(np.mean([one[step][1] for one in by_step])),
        )
        for step in steps
    ]


def running_mean(values: Sequence[float], window: int) -> list[float]:
    """Returns the mean around each value: of as many to both sides as there are, at most half a
    window."""
    half = window // 2
    reach = [min(half, i, len(values) - 1 - i) for i in range(len(values))]
    return [float(np.mean(values[i - r : i + r + 1])) for i, r in enumerate(reach)]


def _draw(axes: Any, shown: _Shown, over: str, lines: dict[Look, list[_Line]]) -> None:
    from gs_densify.report.plots.draw import scale

    column = list(_AXES).index(over)
    longest = max(len(line) for seeds in lines.values() for line in seeds)
    window = _WINDOW if shown.is_noisy and longest >= _SMOOTHED else 1
    every = [value for seeds in lines.values() for line in seeds for *_, value in line]
    scale(axes.yaxis, every, logarithmic=shown.name != "psnr" and spans(every))
    scale(axes.xaxis, [], logarithmic=False)
    for look, seeds in lines.items():
        mean = mean_line(seeds)
        if len(seeds) > 1 or window > 1:
            for line in seeds:
                xs, ys = [p[column] for p in line], [p[2] for p in line]
                axes.plot(xs, ys, color=look.color, linewidth=0.6, alpha=0.35)
        axes.plot(
            [p[column] for p in mean],
            running_mean([p[2] for p in mean], window),
            color=look.color,
            marker=look.marker,
            markevery=1 if shown.marks else [-1] if mean else [],
            markersize=5,
            markeredgewidth=0,
            zorder=3,
        )
    axes.grid(True)
    axes.margins(x=0.02)
    axes.set_xlabel(_AXES[over])
    smoothed = f", running mean of {window} lines" if window > 1 else ""
    axes.set_ylabel(f"{shown.label}{shown.unit}{smoothed}")
