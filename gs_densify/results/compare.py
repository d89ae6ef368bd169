"""Two models of one scene, view by view."""

from dataclasses import dataclass

from gs_densify.errors import ResultError
from gs_densify.results.protocol import Protocol, protocol_differences
from gs_densify.results.schema import SCHEMA_VERSION, Scores
from gs_densify.results.scored import Scored


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two models."""

    folder: str
    scene: str
    strategy: str | None
    seed: int | None
    step: int | None
    num_gaussians: int
    scores: Scores
    protocol: Protocol


@dataclass(frozen=True, kw_only=True)
class ViewDifference:
    """One view under both models; `difference` is second minus first."""

    name: str
    first: Scores
    second: Scores
    difference: Scores


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """`comparison.json`. `difference` is second minus first, of the means over all views of each;
    null where one of them lacks the metric."""

    first: Side
    second: Side
    protocol_differences: list[str]
    """Empty unless the comparison was forced."""
    difference: Scores
    views: list[ViewDifference]
    schema_version: int = SCHEMA_VERSION


def compare(first: Scored, second: Scored, *, force: bool = False) -> Comparison:
    """Compares two models; with `force` also under different protocols, on the views of both.

    Raises:
        ResultError: where the protocols differ and it is not forced, or no view is common.
    """
    contradictions = protocol_differences(first.protocol, second.protocol)
    if contradictions and not force:
        raise ResultError(
            f"{first.folder} and {second.folder} were not scored alike:"
            f" {'; '.join(contradictions)}",
            action="compare the models themselves with one --protocol, or add --force",
        )
    others = {view.name: view.scores for view in second.views}
    views = [
        ViewDifference(
            name=view.name,
            first=view.scores,
            second=others[view.name],
            difference=subtract(others[view.name], view.scores),
        )
        for view in first.views
        if view.name in others
    ]
    if not views:
        raise ResultError(f"{first.folder} and {second.folder} have no held-out view in common")
    return Comparison(
        first=_side(first),
        second=_side(second),
        protocol_differences=contradictions,
        difference=subtract(second.scores, first.scores),
        views=views,
    )


def subtract(minuend: Scores, subtrahend: Scores) -> Scores:
    """Returns the differences of two scores; null where one is, or one lacks the metric."""
    differences: dict[str, float | None] = {}
    for name in {**minuend, **subtrahend}:
        a, b = minuend.get(name), subtrahend.get(name)
        differences[name] = None if a is None or b is None else a - b
    return Scores(differences)


def _side(scored: Scored) -> Side:
    return Side(
        folder=str(scored.folder),
        scene=scored.scene,
        strategy=scored.strategy,
        seed=scored.seed,
        step=scored.step,
        num_gaussians=scored.num_gaussians,
        scores=scored.scores,
        protocol=scored.protocol,
    )
