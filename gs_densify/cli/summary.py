"""Scores as text."""

from collections.abc import Mapping

from gs_densify.evaluation.metrics import BUILTIN
from gs_densify.evaluation.scoring import NOT_ASKED
from gs_densify.results import STANDARD_METRICS, MetricRecord, Protocol, Scores, WallTime
from gs_densify.results.compare import Comparison

_SHOWN = [name for name in STANDARD_METRICS if name != "psnr_float"]  # hardly another than psnr


def _columns(further: Mapping[str, MetricRecord]) -> dict[str, MetricRecord]:
    """Returns what tables show, where it was measured, with how to write it."""
    return {**{name: BUILTIN[name] for name in _SHOWN}, **further}


def scores_text(scores: Scores, unavailable: dict[str, str], protocol: Protocol) -> str:
    """Returns one line of scores, and one for each score that was asked for and cannot be had."""
    columns = _columns(protocol.metrics)
    known = [
        f"{metric.label} {metric.text(scores.get(name))} {metric.unit}".rstrip()
        for name, metric in columns.items()
        if scores.get(name) is not None
    ]
    labels: dict[str, list[str]] = {}
    for name, reason in unavailable.items():
        if reason != NOT_ASKED and name in columns:
            labels.setdefault(reason, []).append(columns[name].label)
    missing = [f"not computed: {', '.join(names)}: {why}" for why, names in labels.items()]
    by_name = "" if protocol.name == "default" else f", protocol {protocol.name}"
    return "\n".join([f"held-out views{by_name}: {', '.join(known) or 'no scores'}", *missing])


def wall_time_text(wall_time: WallTime) -> str:
    """Returns one line of where the time went, in the order in which things are done."""
    parts = (f"{name.replace('_', ' ')} {each:.1f}" for name, each in wall_time.parts.items())
    return f"{wall_time.total:.1f} s in all: {', '.join(parts)}"


def comparison_text(comparison: Comparison) -> str:
    """Returns a table of the views, and the means; each difference is second minus first."""
    from gs_densify.report.formats.text import aligned  # gs-train has no use for it

    both = comparison.first.protocol.metrics | comparison.second.protocol.metrics
    columns = {
        name: metric
        for name, metric in _columns(both).items()
        if comparison.difference.get(name) is not None
    }
    header = ["view"]
    for metric in columns.values():
        header += [metric.label, "second", "diff"]
    triples = [(view.name, view.first, view.second, view.difference) for view in comparison.views]
    triples.append(
        ("mean", comparison.first.scores, comparison.second.scores, comparison.difference)
    )
    rows = [[label, *_difference_cells(columns, *scores)] for label, *scores in triples]
    sides = [
        f"{label}: {side.folder} ({side.num_gaussians:,} Gaussians, protocol {side.protocol.name})"
        for label, side in (("first", comparison.first), ("second", comparison.second))
    ]
    forced = [f"NOT SCORED ALIKE: {one}" for one in comparison.protocol_differences]
    return "\n".join([*sides, *forced, *aligned(header, rows)])


def _difference_cells(
    columns: Mapping[str, MetricRecord], first: Scores, second: Scores, difference: Scores
) -> list[str]:
    cells = []
    for name, metric in columns.items():
        cells += [metric.text(one.get(name)) for one in (first, second)]
        cells.append(metric.text(difference.get(name), sign="+"))
    return cells
