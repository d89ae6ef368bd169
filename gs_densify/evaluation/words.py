"""Scores in words, as commands print them and pictures have them. Imports no torch."""

from collections.abc import Iterable, Mapping

from gs_densify.evaluation.metrics import BUILTIN
from gs_densify.evaluation.scoring import NOT_ASKED
from gs_densify.results import STANDARD_METRICS, MetricRecord, Scores, ViewScores
from gs_densify.results.views import badness

_SHOWN = [name for name in STANDARD_METRICS if name != "psnr_float"]  # hardly another than psnr


def columns(further: Mapping[str, MetricRecord]) -> dict[str, MetricRecord]:
    """Returns the metrics that are shown, where they were measured, with how to write them."""
    return {**{name: BUILTIN[name] for name in _SHOWN}, **further}


def in_words(scores: Scores, further: Mapping[str, MetricRecord]) -> list[str]:
    """Returns the scores that there are, with names and units.

    Args:
        scores: of a view, or means.
        further: describes the metrics that not every file has.
    """
    return [
        f"{metric.label} {metric.text(scores.get(name))} {metric.unit}".rstrip()
        for name, metric in columns(further).items()
        if scores.get(name) is not None
    ]


def missing_in_words(
    unavailable: Mapping[str, str], further: Mapping[str, MetricRecord]
) -> list[str]:
    """Returns a line for each reason for which scores that were asked for cannot be had."""
    shown = columns(further)
    labels: dict[str, list[str]] = {}
    for name, reason in unavailable.items():
        if reason != NOT_ASKED and name in shown:
            labels.setdefault(reason, []).append(shown[name].label)
    return [f"not computed: {', '.join(names)}: {why}" for why, names in labels.items()]


def worst_in_words(views: Iterable[ViewScores], most: int = 3) -> list[str]:
    """Returns a line of the views with the lowest PSNR; none where there is nothing to choose."""
    scored = sorted((view for view in views if view.scores["psnr"] is not None), key=badness)
    if len(scored) < 2:
        return []
    psnr = BUILTIN["psnr"]
    each = (f"{view.name} {psnr.text(view.scores['psnr'])}" for view in scored[:most])
    return [f"worst views, by {psnr.label} in {psnr.unit}: {', '.join(each)}"]
