"""Scores the model of a finished run again, from the files of the run alone."""

import dataclasses
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from gs_densify.errors import ConfigError, ResultError
from gs_densify.evaluation.evaluate import Evaluation
from gs_densify.rendering.base import make_rasterizer
from gs_densify.results import METRICS, EvaluationResults, PerView, load_results, save_json
from gs_densify.splats.model import to_parameters
from gs_densify.training import run_folder
from gs_densify.training.checkpoint import checkpoint_path, latest_checkpoint, load_checkpoint
from gs_densify.training.config import TrainConfig
from gs_densify.training.config_file import from_mapping, read_mapping, to_mapping, with_overrides
from gs_densify.training.device import pick_device
from gs_densify.training.load import load
from gs_densify.training.presets import protocol_name
from gs_densify.training.scoring import protocol_of, score


@dataclasses.dataclass(frozen=True)
class Report:
    """What was scored and where the files are."""

    evaluation: Evaluation
    step: int
    folder: Path


def run_config(run: Path, overrides: Mapping[str, Any]) -> TrainConfig:
    """The configuration saved in `run`, with options replaced by dotted name."""
    path = run / run_folder.CONFIG
    if not path.is_file():
        raise ResultError(f"{run}: no {run_folder.CONFIG}; give the folder that gs-train wrote")
    return with_overrides(from_mapping(read_mapping(path), str(path)), overrides)


def evaluate_run(config: TrainConfig, run: Path, step: int | None, out: Path | None) -> Report:
    """Score the checkpoint after `step` (the latest when None); writes into `out` or `run`."""
    folder = out or run / "evaluations" / time.strftime("%Y-%m-%d_%H%M%S")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"--out {folder} holds files already; choose another folder")
    path = latest_checkpoint(run) if step is None else checkpoint_path(run, step)
    device = pick_device(config.device)
    contents = load_checkpoint(path, "cpu")
    loaded = load(config, test_only=True)
    splats = to_parameters(contents["splats"], device)
    evaluation = score(
        config,
        make_rasterizer(device),
        splats,
        loaded,
        pictures=folder / run_folder.RENDERS,
    )
    per_view = PerView(
        scene=loaded.scene.name,
        strategy=config.strategy,
        seed=config.seed,
        step=contents["step"],
        protocol=protocol_name(config),
        views=evaluation.views,
    )
    results = EvaluationResults(
        model=str(path),
        scene=loaded.scene.name,
        strategy=config.strategy,
        seed=config.seed,
        step=contents["step"],
        config=to_mapping(config),
        protocol=protocol_of(
            config, loaded.scene, device, seed=config.seed, steps=contents["step"]
        ),
        scores=evaluation.scores,
        unavailable=evaluation.unavailable,
        num_gaussians=len(splats["means"]),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=[],
    )
    save_json(folder / run_folder.PER_VIEW, per_view)
    save_json(folder / run_folder.EVALUATION, results)
    return Report(evaluation, contents["step"], folder)


def differences(run: Path, report: Report) -> list[str] | None:
    """Scores that differ from those stored in results.json, in words; None if none are stored."""
    path = run / run_folder.RESULTS
    if not path.is_file():
        return None
    stored = [r for r in load_results(path).evaluations if r.step == report.step]
    if not stored:
        return None
    pairs = {
        name: (getattr(stored[-1].scores, name), getattr(report.evaluation.scores, name))
        for name in METRICS
    }
    return [
        f"{name} {before} stored, {now} now"
        for name, (before, now) in pairs.items()
        if before != now
    ]
