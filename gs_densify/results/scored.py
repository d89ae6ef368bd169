"""The scores of one model with what they mean, from the folder of a run or of an evaluation."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gs_densify.errors import ResultError
from gs_densify.results.files import load_evaluation, load_results
from gs_densify.results.names import EVALUATION, RESULTS
from gs_densify.results.protocol import Protocol
from gs_densify.results.schema import Scores, ViewScores
from gs_densify.results.views import load_views


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One model, scored once."""

    folder: Path
    scene: str
    strategy: str | None
    seed: int | None
    step: int | None
    config: dict[str, Any]
    protocol: Protocol
    scores: Scores
    num_gaussians: int
    views: list[ViewScores]


def is_scored(path: Path) -> bool:
    """Returns whether `path` is the folder of a finished run or of an evaluation."""
    return any((path / name).is_file() for name in (RESULTS, EVALUATION))


def load_scored(folder: Path) -> Scored:
    """Reads what gs-train left in `folder` at its end, or what gs-eval wrote.

    Raises:
        ResultError: where there is neither, or the files are damaged or do not belong together.
    """
    if (folder / RESULTS).is_file():
        common = _of_run(folder)
    elif (folder / EVALUATION).is_file():
        common = _of_evaluation(folder)
    else:
        raise ResultError(
            f"{folder}: holds no {RESULTS} or {EVALUATION}",
            action="give the folder of a finished run or of an evaluation",
        )
    return Scored(folder=folder, **common)


def _of_run(folder: Path) -> dict[str, Any]:
    results = load_results(folder / RESULTS)
    return {
        "scene": results.scene,
        "strategy": results.strategy.name,
        "seed": results.seed,
        "step": results.steps,
        "config": results.config,
        "protocol": results.protocol,
        "scores": results.scores,
        "num_gaussians": results.counts.final,
        "views": load_views(folder, results),
    }


def _of_evaluation(folder: Path) -> dict[str, Any]:
    results = load_evaluation(folder / EVALUATION)
    names = ("scene", "strategy", "seed", "step", "config", "protocol", "scores", "num_gaussians")
    values = {name: getattr(results, name) for name in names}
    return {**values, "views": load_views(folder, results)}
