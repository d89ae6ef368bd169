"""The first metric on every held-out view: as bars of differences from the baseline, or as dots.

Bars need an end that means something: no difference is one, a PSNR of 0 dB is none.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gs_densify.report.formats.grid import heading
from gs_densify.report.plots.plot import MUTED, LeftOut, Look, Plot, looks_of, plain_text
from gs_densify.report.quantities import Quantity
from gs_densify.report.record import slug
from gs_densify.report.report import Report, view_means

MOST = 60
"""Views in one plot; of more of them the worst."""


def plots(report: Report) -> Iterator[Plot | LeftOut]:
    """Yields a plot for each scene."""
    quantity = next((one for one in report.quantities if one.is_score), None)
    if quantity is None:
        return
    looks = looks_of(report)
    for scene in report.scenes:
        scores = {
            method.label: found
            for method in report.methods
            if (runs := method.on(scene)) and (found := view_means(quantity, runs))
        }
        yield _plot(report, scene, quantity, scores, looks)


def _plot(
    report: Report,
    scene: str,
    quantity: Quantity,
    scores: Mapping[str, Mapping[str, float]],
    looks: Mapping[tuple[str, bool], Look],
) -> Plot | LeftOut:
    base = report.baseline if report.baseline in scores and len(scores) > 1 else None
    title = f"{plain_text(quantity.label)} of held-out views, worst first"
    names = worst_first(scores, base, quantity.higher_is_better)
    if not names:
        return LeftOut(f"{plain_text(scene)}: {title}", "no view has a score of every method")
    shown = names[:MOST]
    methods = [label for label in scores if label != base]
    columns = {
        looks[label, False]: [
            scores[label][name] - (0.0 if base is None else scores[base][name]) for name in shown
        ]
        for label in methods
    }
    which = f" ({len(shown)} of {len(names)})" if len(shown) < len(names) else ""
    row = 0.16 if base is None else 0.08 + 0.055 * len(methods)
    return Plot(
        name=f"{slug(scene)}_{slug(quantity.name)}_of_views",
        kind="held-out views",
        table=scene,
        of=plain_text(scene),
        title=title + which,
        draw=lambda axes: _draw(axes, shown, columns, quantity, base),
        looks=list(columns),
        height=max(1.2, row * len(shown)),
        page_text=10.5,
        left=0.3 + 0.075 * max(len(_short(name)) for name in shown),
    )


def worst_first(
    scores: Mapping[str, Mapping[str, float]], base: str | None, higher_is_better: bool
) -> list[str]:
    """Returns the views that all methods have scores of: by the baseline's, or by their mean."""
    if not scores:
        return []
    first, *others = scores.values()
    names = [name for name in first if all(name in other for other in others)]
    judges = list(scores.values()) if base is None else [scores[base]]
    means = {name: sum(judge[name] for judge in judges) / len(judges) for name in names}
    return sorted(names, key=lambda n: (means[n] if higher_is_better else -means[n], n))


def _short(name: str) -> str:
    name = plain_text(name)
    return name if len(name) <= 24 else f"…{name[-23:]}"


def _draw(
    axes: Any,
    names: Sequence[str],
    columns: Mapping[Look, Sequence[float]],
    quantity: Quantity,
    base: str | None,
) -> None:
    from gs_densify.report.plots.draw import marker, scale

    scale(axes.xaxis, [], logarithmic=False)
    thickness = 0.8 / len(columns)
    for i, (look, values) in enumerate(columns.items()):
        if base is None:
            axes.plot(values, range(len(names)), linestyle="none", **marker(look))
        else:
            places = [row + (i + 0.5) * thickness - 0.4 for row in range(len(names))]
            axes.barh(places, values, height=thickness, color=look.color, linewidth=0)
    axes.set_yticks(range(len(names)), [_short(name) for name in names], fontsize="small")
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(True, axis="x" if base is not None else "both")
    axes.set_xlabel(plain_text(heading(quantity)))
    if base is not None:
        axes.axvline(0.0, color=MUTED, linewidth=0.8)
        axes.set_xlabel(f"{plain_text(heading(quantity))}, difference from {plain_text(base)}")
