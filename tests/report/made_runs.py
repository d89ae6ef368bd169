"""Folders of runs as gs-train leaves them, made without training."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from results_example import example_results

from gs_densify.report.report import NAMED_MEANS, Report, Row, make_report
from gs_densify.report.runs import Run, find_runs, load_run
from gs_densify.results import (
    CodeRecord,
    Counts,
    DataRecord,
    EvaluationResults,
    MetricsLog,
    MetricsRow,
    PerView,
    Results,
    Scores,
    StrategyRecord,
    ViewScores,
    save_json,
)

SEVEN, NINE = sorted(NAMED_MEANS["mean_7"]), sorted(NAMED_MEANS["mean_9"])
CODE = CodeRecord(strategy="s1", package="p1", commit="c1")
DATA = DataRecord(model="m1", photos="f1")


def made(
    folder: Path,
    scene: str = "garden",
    *,
    seed: int | None = 0,
    psnr: float | None = 27.0,
    strategy: str = "adc",
    label: str | None = None,
    config: Mapping[str, Any] | None = None,
    scores: Mapping[str, float] | None = None,
    views: Sequence[float] | None = None,
    code: CodeRecord | None = CODE,
    data: DataRecord | None = DATA,
    final: int = 5,
    at: str | None = None,
    conditions: Mapping[str, Any] | None = None,
    changed: Mapping[str, Any] | None = None,
    **protocol: Any,
) -> Path:
    """Writes a run and returns its folder; `views` are the PSNRs of its held-out views."""
    base = example_results()
    mean = psnr if views is None else sum(views) / len(views)
    found = Scores({"psnr": mean, "psnr_float": 27.5, "ssim": 0.8, **(scores or {})})
    names = [f"{i:03}.png" for i in range(2 if views is None else len(views))]
    block = {
        "scene_name": scene,
        "test_images": names,
        "n_test": len(names),
        "conditions": dataclasses.replace(
            base.protocol.conditions, **{"seed": seed, **(conditions or {})}
        ),
        **protocol,
    }
    results = dataclasses.replace(
        base,
        scene=scene,
        seed=seed,
        strategy=StrategyRecord(name=strategy),
        config={
            **{"strategy": {"name": strategy}, "seed": seed, "out": str(folder)},
            **({} if label is None else {"label": label}),
            **(config or {}),
        },
        protocol=dataclasses.replace(base.protocol, **block),
        scores=found,
        unavailable={name: "not asked for" for name in found.missing()},
        counts=Counts(initial=3, final=final, peak=max(final, 3)),
        code=code,
        data=data,
        **(changed or {}),
    )
    path = folder / (at or f"{scene}_{Path(label or strategy).name}_{seed}")
    psnrs = [found["psnr"]] * 2 if views is None else views
    per_view = [
        ViewScores(name=name, scores=Scores({**found, "psnr": one}))
        for name, one in zip(names, psnrs, strict=True)
    ]
    write(path, results, per_view)
    return path


def write(path: Path, results: Results, views: list[ViewScores]) -> None:
    save_json(path / "results.json", results)
    save_json(path / "per_view.json", per_view_of(results, views))
    with MetricsLog(path / "metrics.jsonl") as log:
        for step in (100, 200):
            row = MetricsRow(step=step, loss=1 / step, num_gaussians=step, train_seconds=step / 7)
            log.append(row)


def per_view_of(results: Results, views: list[ViewScores]) -> PerView:
    return PerView(
        scene=results.scene,
        strategy=results.strategy.name,
        seed=results.seed,
        step=results.steps,
        protocol=results.protocol.name,
        views=views,
    )


def evaluation_of(run: Path, folder: Path, **changes: Any) -> Path:
    """Writes what gs-eval would of a run."""
    read = load_run(run)
    assert read.results is not None
    results = dataclasses.replace(read.results, **changes)
    shared = {
        name: getattr(results, name)
        for name in (
            *("scene", "seed", "config", "protocol", "scores", "unavailable", "created"),
            *("command", "code", "data"),
        )
    }
    save_json(
        folder / "evaluation.json",
        EvaluationResults(
            **shared,
            model="point_cloud.ply",
            strategy=results.strategy.name,
            step=results.steps,
            num_gaussians=results.counts.final,
        ),
    )
    save_json(folder / "per_view.json", per_view_of(results, read.views))
    return folder


def runs_in(folder: Path) -> list[Run]:
    return find_runs([folder]).runs


def report_on(folder: Path, **options: Any) -> Report:
    return make_report(runs_in(folder), **options)


def row(report: Report, table: str, label: str) -> Row:
    (found,) = (
        one
        for each in report.tables
        if each.name == table
        for one in each.rows
        if one.label == label
    )
    return found


def mean(report: Report, table: str, label: str, quantity: str = "psnr") -> float | None:
    return row(report, table, label).cells[quantity].spread.mean
