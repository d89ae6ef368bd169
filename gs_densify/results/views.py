"""The scores of single views, tied to the scores that are their means."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from gs_densify.errors import ResultError
from gs_densify.results.files import load_per_view
from gs_densify.results.names import PER_VIEW
from gs_densify.results.schema import EvaluationResults, PerView, Results, ViewScores

Scored = Results | EvaluationResults


def badness(view: ViewScores) -> tuple[float, str]:
    """Returns what sorts views with the worst first: by PSNR, those without one last."""
    psnr = view.scores["psnr"]
    return math.inf if psnr is None else psnr, view.name


def load_views(folder: Path, scored: Scored) -> list[ViewScores]:
    """Reads the scores of single views that lie beside those of a model.

    Raises:
        ResultError: they are missing, damaged, or not of that evaluation.
    """
    per_view = load_per_view(folder / PER_VIEW)
    for name, there, here in _headers(per_view, scored):
        if there != here:
            raise _not_of_one(
                f"{folder}: {PER_VIEW}", f"is of {name} {there}, the scores beside it of {here}"
            )
    return checked_views(per_view.views, scored, f"{folder}: {PER_VIEW}")


def checked_views(views: list[ViewScores], scored: Scored, where: str) -> list[ViewScores]:
    """Returns `views`, which are each held-out view once, and of which `scored` has the means.

    Raises:
        ResultError: they are not; the message starts with `where`.
    """
    counts = Counter(view.name for view in views)
    held_out = set(scored.protocol.test_images)
    faults = (
        ("has twice", sorted(name for name, count in counts.items() if count > 1)),
        ("lacks", sorted(held_out - counts.keys())),
        ("has other views than those held out:", sorted(counts.keys() - held_out)),
    )
    for fault, names in faults:
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise _not_of_one(where, f"{fault} {', '.join(names[:3])}{more}")
    for name, mean in scored.scores.items():
        found = _mean(views, name)
        if mean is not None and (found is None or not math.isclose(found, mean, rel_tol=1e-6)):
            raise _not_of_one(where, f"has a mean {name} of {found}, the scores beside it {mean}")
    return views


def _headers(per_view: PerView, scored: Scored) -> Iterator[tuple[str, object, object]]:
    """Yields name, value in `per_view` and value in `scored` of what both say."""
    strategy = scored.strategy.name if isinstance(scored, Results) else scored.strategy
    step = scored.steps if isinstance(scored, Results) else scored.step
    yield "scene", per_view.scene, scored.scene
    yield "strategy", per_view.strategy, strategy
    yield "seed", per_view.seed, scored.seed
    yield "step", per_view.step, step
    if per_view.protocol is not None:  # a file of version 1 does not say
        yield "protocol", per_view.protocol, scored.protocol.name


def _mean(views: Sequence[ViewScores], name: str) -> float | None:
    values = [view.scores.get(name) for view in views]
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(views) else None


def _not_of_one(where: str, what: str) -> ResultError:
    return ResultError(
        f"{where} {what}; the files are not of one evaluation",
        action="score the model again with gs-eval",
    )
