"""Runs as gs-train leaves them, made from a recorded one."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gs_densify.report.runs import Run, load_run
from gs_densify.results import (
    CodeRecord,
    DataRecord,
    EvaluationRecord,
    MetricsLog,
    Scores,
    StrategyRecord,
    ViewScores,
    save_json,
)
from gs_densify.results.record import load_record

RECORDS = Path(__file__).parents[2] / "benchmarks/records"
RECORD = load_record(RECORDS / "bonsai_7k/default_7k.run.json")
VIEWS = {"a_b.png": 26.0, "ü.png": 28.0}
CODE = CodeRecord(strategy="s1", package="p1", commit="c1")


def save_run(
    folder: Path,
    *,
    scene: str = "garden",
    strategy: str = "default",
    label: str | None = None,
    seed: int | None = 0,
    views: Mapping[str, float] = VIEWS,
    options: Mapping[str, Any] | None = None,
    conditions: Mapping[str, Any] | None = None,
    protocol: Mapping[str, Any] | None = None,
    code: CodeRecord | None = CODE,
    data: DataRecord | None = None,
    num_gaussians: int = 1000,
    passed: Mapping[float, float] | None = None,
) -> Path:
    """Writes a run whose PSNR is the mean over `views`; returns its folder.

    Args:
        options: of its configuration, by dotted name.
        conditions: changed entries of the protocol's conditions.
        protocol: changed entries of the protocol.
        passed: PSNR of its evaluations by seconds of training.
    """
    old = RECORD.results
    scores = Scores(psnr=sum(views.values()) / len(views), ssim=0.8)
    config = copy.deepcopy(old.config) | {"seed": seed, "label": label, "scene": scene}
    for name, value in (options or {}).items():
        *groups, last = name.split(".")
        place = config
        for group in groups:
            place = place[group]
        place[last] = value
    found = replace(old.protocol.conditions, seed=seed, **(conditions or {}))
    block = {"scene_name": scene, "test_images": list(views), **(protocol or {})}
    results = replace(
        old,
        scene=scene,
        seed=seed,
        strategy=StrategyRecord(name=strategy),
        config=config,
        protocol=replace(old.protocol, conditions=found, **block),
        scores=scores,
        unavailable=dict.fromkeys(scores.missing(), "not asked for"),
        counts=replace(old.counts, final=num_gaussians),
        code=code,
        data=data,
        evaluations=[
            EvaluationRecord(
                step=i, scores=Scores(psnr=psnr), num_gaussians=1, train_seconds=seconds
            )
            for i, (seconds, psnr) in enumerate((passed or {}).items(), 1)
        ],
    )
    run = folder / f"{scene}_{label or strategy}_{seed}"
    per_view = replace(
        RECORD.per_view(),
        scene=scene,
        seed=seed,
        protocol=results.protocol.name,
        views=[ViewScores(name=n, scores=Scores(psnr=v, ssim=0.8)) for n, v in views.items()],
    )
    save_json(run / "results.json", results)
    save_json(run / "per_view.json", per_view)
    (run / "config.yml").write_text("format: 2\n")
    with MetricsLog(run / "metrics.jsonl") as log:
        for row in RECORD.timeline[:3]:
            log.append(row)
    return run


def made(folder: Path, **changes: Any) -> Run:
    """Returns the run that `save_run` writes."""
    return load_run(save_run(folder, **changes))
