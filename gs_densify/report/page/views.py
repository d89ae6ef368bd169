"""What the script of the page knows of held-out views: scores, and pictures of some."""

from collections.abc import Mapping, Sequence
from typing import Any

from gs_densify.report.methods import Method
from gs_densify.report.page.pictures import Files, ViewPictures, read_pictures
from gs_densify.report.plots.views import worst_first
from gs_densify.report.quantities import Quantity
from gs_densify.report.report import Report, view_means
from gs_densify.report.runs import Run
from gs_densify.results.names import picture_name

_Scores = Mapping[str, Mapping[str, float]]
"""By the label of the method, then by the view."""


def scenes_of(report: Report) -> list[dict[str, Any]]:
    """Returns a scene each, for the page and as JSON for its script; scores are means over seeds.

    Raises:
        ResultError: scores or pictures of a run cannot be read.
    """
    metrics = [one for one in report.quantities if one.is_score]
    scores = {scene: _scores(report, scene, metrics) for scene in report.scenes}
    files = {scene: _files(report, scene, metrics, scores[scene]) for scene in report.scenes}
    pictures = read_pictures(files)
    return [
        _scene(report, scene, metrics, scores[scene], pictures[scene], len(files[scene]))
        for scene in report.scenes
    ]


def _scores(report: Report, scene: str, metrics: Sequence[Quantity]) -> dict[str, _Scores]:
    """Returns scores by the name of the metric."""
    return {
        one.name: {m.label: view_means(one, runs) for m in report.methods if (runs := m.on(scene))}
        for one in metrics
    }


def _pictured(method: Method, scene: str) -> Run | None:
    """Returns the run of a method of which pictures are shown: the first seed that has any."""
    return next((run for run in method.on(scene) if run.pictures is not None), None)


def _files(
    report: Report, scene: str, metrics: Sequence[Quantity], scores: Mapping[str, _Scores]
) -> Files:
    """Returns the pictures there are: views that more methods have pictures of come first, and
    among these those that the first metric calls worst.
    """
    runs = {m.label: run for m in report.methods if (run := _pictured(m, scene)) is not None}
    names = dict.fromkeys(_ordered(report, metrics, scores))
    names |= dict.fromkeys(view.name for run in runs.values() for view in run.views)
    found = {
        name: {
            label: path
            for label, run in runs.items()
            if run.pictures is not None and (path := run.pictures / picture_name(name)).is_file()
        }
        for name in names
    }
    by_count = sorted(found.items(), key=lambda item: -len(item[1]))
    return {name: paths for name, paths in by_count if paths}


def _ordered(
    report: Report, metrics: Sequence[Quantity], scores: Mapping[str, _Scores]
) -> list[str]:
    if not metrics:
        return []
    first = scores[metrics[0].name]
    base = report.baseline if report.baseline in first else None
    return worst_first(first, base, metrics[0].higher_is_better)


def _scene(
    report: Report,
    scene: str,
    metrics: Sequence[Quantity],
    scores: Mapping[str, _Scores],
    pictures: Mapping[str, ViewPictures],
    available: int,
) -> dict[str, Any]:
    methods = [method for method in report.methods if method.on(scene)]
    labels = [method.label for method in methods]
    names = dict.fromkeys(_ordered(report, metrics, scores))
    names |= dict.fromkeys(
        name for by_method in scores.values() for one in by_method.values() for name in one
    )
    names |= dict.fromkeys(pictures)
    return {
        "name": scene,
        "methods": labels,
        "baseline": report.baseline if report.baseline in labels else None,
        "seeds": [
            None
            if (run := _pictured(method, scene)) is None or len(method.on(scene)) < 2
            else run.seed
            for method in methods
        ],
        "metrics": [
            {"label": one.label, "unit": one.unit, "higherIsBetter": one.higher_is_better}
            for one in metrics
        ],
        "available": available,
        "views": [
            {
                "name": name,
                "scores": [
                    [_value(one, scores[one.name][label].get(name)) for label in labels]
                    for one in metrics
                ],
                "pictures": _pictures(pictures.get(name), labels),
            }
            for name in names
        ],
    }


def _value(quantity: Quantity, value: float | None) -> tuple[float, str] | None:
    return None if value is None else (value, quantity.text(value))


def _pictures(pictures: ViewPictures | None, labels: Sequence[str]) -> dict[str, Any] | None:
    if pictures is None:
        return None
    return {
        "width": pictures.width,
        "height": pictures.height,
        "photo": pictures.photo,
        "renders": [pictures.renders.get(label) for label in labels],
        "errors": [pictures.errors.get(label) for label in labels],
    }
