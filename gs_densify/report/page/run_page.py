"""The page of one run, or of one evaluation: its scores, its worst views, its files."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from gs_densify.evaluation.words import columns, missing_in_words
from gs_densify.report.page.look import drawn_look
from gs_densify.report.page.template import filled
from gs_densify.report.page.views import scenes_of
from gs_densify.report.plots.plot import looks_of
from gs_densify.report.report import make_report
from gs_densify.report.runs import Run, load_run
from gs_densify.results import EvaluationResults, Results, load_evaluation
from gs_densify.results.names import EVALUATION, INDEX


def run_page_text(folder: Path) -> str:
    """Returns the page of what lies in the folder of a run or of an evaluation.

    Raises:
        ResultError: a file of it is missing or damaged.
    """
    run = load_run(folder)
    scored = load_evaluation(folder / EVALUATION) if run.results is None else run.results
    report = make_report([run])
    (method,) = report.methods
    return filled(
        "run.html",
        program="gs-eval" if run.results is None else "gs-train",
        title=f"{run.scene}, {method.label}",
        scenes=scenes_of(report),
        data={
            "looks": [drawn_look(looks_of(report)[method.label, False])],
            "methods": [method.label],
        },
        about="; ".join(_about(run, scored)),
        protocol=run.protocol.name,
        scores=[
            (f"{metric.label} ({metric.unit})" if metric.unit else metric.label, metric.text(value))
            for name, metric in columns(run.protocol.metrics).items()
            if (value := run.scores.get(name)) is not None
        ],
        missing=missing_in_words(scored.unavailable, run.protocol.metrics),
        files=list(_files(folder)),
        command=shlex.join(scored.command),
    )


def _about(run: Run, scored: Results | EvaluationResults) -> Iterator[str]:
    """Yields facts that are read before anything else."""
    if run.steps is not None:
        yield f"{run.steps:,} steps"
    yield f"{run.num_gaussians:,} Gaussians"
    if run.results is not None:
        on = run.results.hardware.gpu or "the CPU"
        yield f"{run.results.wall_time.train:,.1f} s of training on {on}"
    if run.seed is not None:
        yield f"seed {run.seed}"
    yield scored.created.replace("T", " ").replace("+00:00", " UTC")


def _files(folder: Path) -> Iterator[tuple[str, str]]:
    """Yields the address, from the page, and the name of what lies beside it."""
    for path in sorted(folder.iterdir()):
        if path.name != INDEX and not path.name.startswith("."):
            name = f"{path.name}/" if path.is_dir() else path.name
            yield f"./{quote(name, errors='surrogateescape')}", name
