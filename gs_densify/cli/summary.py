"""Scores as text."""

from collections.abc import Mapping, Sequence

from gs_densify.evaluation.words import columns, in_words, missing_in_words, worst_in_words
from gs_densify.results import (
    EvaluationResults,
    MetricRecord,
    Results,
    Scores,
    ViewScores,
    WallTime,
)
from gs_densify.results.compare import Comparison


def scores_text(scored: Results | EvaluationResults, views: Sequence[ViewScores]) -> str:
    """Returns a line of scores, one for each score that was asked for and cannot be had, and one of
    the worst `views`.
    """
    protocol = scored.protocol
    known = in_words(scored.scores, protocol.metrics)
    missing = missing_in_words(scored.unavailable, protocol.metrics)
    by_name = "" if protocol.name == "default" else f", protocol {protocol.name}"
    first = f"held-out views{by_name}: {', '.join(known) or 'no scores'}"
    return "\n".join([first, *missing, *worst_in_words(views)])


def wall_time_text(wall_time: WallTime) -> str:
    """Returns one line of where the time went, in the order in which things are done."""
    parts = (f"{name.replace('_', ' ')} {each:.1f}" for name, each in wall_time.parts.items())
    return f"{wall_time.total:.1f} s in all: {', '.join(parts)}"


def comparison_text(comparison: Comparison) -> str:
    """Returns a table of the views, and the means; each difference is second minus first."""
    from gs_densify.report.formats.text import aligned  # gs-train has no use for it

    both = comparison.first.protocol.metrics | comparison.second.protocol.metrics
    shown = {
        name: metric
        for name, metric in columns(both).items()
        if comparison.difference.get(name) is not None
    }
    header = ["view"]
    for metric in shown.values():
        header += [metric.label, "second", "diff"]
    triples = [(view.name, view.first, view.second, view.difference) for view in comparison.views]
    triples.append(
        ("mean", comparison.first.scores, comparison.second.scores, comparison.difference)
    )
    rows = [[label, *_difference_cells(shown, *scores)] for label, *scores in triples]
    sides = [
        f"{label}: {side.folder} ({side.num_gaussians:,} Gaussians, protocol {side.protocol.name})"
        for label, side in (("first", comparison.first), ("second", comparison.second))
    ]
    forced = [f"NOT SCORED ALIKE: {one}" for one in comparison.protocol_differences]
    return "\n".join([*sides, *forced, *aligned(header, rows)])


def _difference_cells(
    shown: Mapping[str, MetricRecord], first: Scores, second: Scores, difference: Scores
) -> list[str]:
    cells = []
    for name, metric in shown.items():
        cells += [metric.text(one.get(name)) for one in (first, second)]
        cells.append(metric.text(difference.get(name), sign="+"))
    return cells
