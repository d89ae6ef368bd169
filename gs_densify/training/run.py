"""One run from its configuration to its result files."""

import dataclasses
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from gs_densify.data.export_cameras import inria_cameras
from gs_densify.evaluation.evaluate import Evaluation
from gs_densify.rendering.base import make_rasterizer
from gs_densify.results import (
    Counts,
    EvaluationRecord,
    MetricsLog,
    MetricsRow,
    PerView,
    Results,
    StrategyRecord,
    WallTime,
    save_json,
)
from gs_densify.results.compat import save_compat
from gs_densify.splats.ply import save_ply
from gs_densify.strategies.registry import require_device
from gs_densify.training import record, run_folder
from gs_densify.training.build import SCENE_SCALE_MARGIN, build_trainer
from gs_densify.training.checkpoint import (
    checkpoint_path,
    random_state,
    save_checkpoint,
)
from gs_densify.training.config import TrainConfig
from gs_densify.training.config_file import save_config, to_mapping
from gs_densify.training.device import memory_shortage, pick_device
from gs_densify.training.load import LoadedScene, load
from gs_densify.training.mls_bench import MlsBenchLines, lines_of
from gs_densify.training.presets import protocol_name
from gs_densify.training.profiling import profiled
from gs_densify.training.progress import shows_progress
from gs_densify.training.resolution import possible_reductions
from gs_densify.training.scoring import protocol_of, score
from gs_densify.training.strategy_host import StrategyHost
from gs_densify.training.strategy_setup import strategy_for
from gs_densify.training.trainer import Trainer
from gs_densify.training.warm_up import warming_up

_REMEDIES = "use --max-gaussians, a larger --downscale, or a smaller --data.image-budget"


def train(
    config: TrainConfig, command: Sequence[str], started: float | None = None
) -> tuple[Results, Path]:
    """Train, evaluate, and write every file of the run; returns the results and the folder.

    `started` is when the command began, of `time.perf_counter`; None: now.
    """
    started = time.perf_counter() if started is None else started
    device = pick_device(config.device)
    record.forget_peak_memory(device)
    require_device(config.strategy, device.type)
    strategy = strategy_for(config)
    lines = lines_of(config)
    make_rasterizer(device)  # says now, not after loading, what is missing
    run_folder.check_free(config.out)  # so does this
    with warming_up(device):
        loaded = load(config)
    if config.render.coarse_until:
        possible_reductions((view.width, view.height) for view in loaded.scene.train_views)
    folder = run_folder.create_folder(config.out, run_folder.default_folder(config))
    run = _Run(config, folder, loaded, device, list(command), started, lines)
    scene = loaded.scene
    margin = scene.scene_scale * SCENE_SCALE_MARGIN
    lines.loaded(len(scene.train_views), len(scene.test_views), margin)
    with memory_shortage(lambda: f"before the first step; {_REMEDIES}"):
        trainer = build_trainer(
            config,
            StrategyHost(config.strategy, strategy, max_gaussians=config.max_gaussians),
            points=scene.points,
            colors=scene.colors,
            views=scene.train_views,
            photos=_taken(loaded.train_photos),
            masks=loaded.train_masks,
            scene_scale=scene.scene_scale,
            device=device,
        )
    lines.initialized(len(scene.points))
    with memory_shortage(
        lambda: (
            f"after step {trainer.progress.step} with {len(trainer.splats['means']):,}"
            f" Gaussians; {_REMEDIES}; what was saved before is in {folder}"
        )
    ):
        results = run.carry_out(trainer)
    return results, folder


def _taken(photos: list[np.ndarray]) -> Iterator[np.ndarray]:
    """The photos, each let go of when the next is asked for: the host never holds them twice."""
    while photos:
        yield photos.pop(0)


class _Run:
    """Joins the trainer with the files of the run."""

    def __init__(
        self,
        config: TrainConfig,
        folder: Path,
        loaded: LoadedScene,
        device: torch.device,
        command: list[str],
        started: float,
        lines: MlsBenchLines,
    ) -> None:
        self.config, self.folder, self.loaded = config, folder, loaded
        self.device, self.command, self.started, self.lines = device, command, started, lines
        self.evaluate_seconds = 0.0
        self.records: list[EvaluationRecord] = []

    def carry_out(self, trainer: Trainer) -> Results:
        config = self.config
        save_config(
            run_folder.with_kept_strategy_file(config, self.folder),
            self.folder / run_folder.CONFIG,
        )
        initial = len(trainer.splats["means"])
        stops = sorted({*config.evaluation.steps, config.steps})
        evaluation: Evaluation

        at_stop: list[MetricsRow] = []  # waits for its PSNR

        def on_log(row: MetricsRow) -> None:
            (at_stop if row.step == stop else log).append(row)
            self.lines.progress(row)

        with (
            MetricsLog(self.folder / run_folder.METRICS) as log,
            tqdm(
                total=config.steps,
                desc="train",
                unit="step",
                disable=not shows_progress(),
                dynamic_ncols=True,
            ) as bar,
        ):
            for stop in stops:
                self._train(trainer, stop, on_log, bar)
                evaluation = self._save_and_evaluate(trainer)
                log.append(dataclasses.replace(at_stop.pop(), psnr=evaluation.scores.psnr))
        results = self._results(trainer, evaluation, initial)
        per_view = self._per_view(evaluation)
        save_json(self.folder / run_folder.PER_VIEW, per_view)
        self._export(trainer)
        cameras = inria_cameras(self.loaded.scene)
        save_compat(self.folder / run_folder.COMPAT, results, per_view, cameras)
        save_json(self.folder / run_folder.RESULTS, results)
        self.lines.finished(self.records, results.wall_time.total)
        return results

    def _train(
        self, trainer: Trainer, until: int, on_log: Callable[[MetricsRow], None], bar: tqdm
    ) -> None:
        """Train to step `until`, and trace the steps that --profile names among them."""
        first, last = self.config.profile or (until, until)
        first, last = max(first, trainer.progress.step), min(last, until)
        if first < last:
            trainer.run(first, on_log, bar)
            with profiled(trainer, self.folder / run_folder.PROFILE):
                trainer.run(last, on_log, bar)
        trainer.run(until, on_log, bar)

    def _save_and_evaluate(self, trainer: Trainer) -> Evaluation:
        """What is checkpointed and what is scored at a step is the same model."""
        step = trainer.progress.step
        started = time.perf_counter()
        save_checkpoint(
            checkpoint_path(self.folder, step), {**trainer.state_dict(), "random": random_state()}
        )
        is_last = step == self.config.steps
        evaluation = score(
            self.config,
            trainer.rasterizer,
            trainer.splats,
            self.loaded,
            pictures=self.folder / run_folder.RENDERS if is_last else None,
        )
        self.evaluate_seconds += time.perf_counter() - started
        print(
            f"step {step}: PSNR {_decibel(evaluation.scores.psnr)},"
            f" {len(trainer.splats['means']):,} Gaussians,"
            f" {trainer.progress.train_seconds:.1f} s of training",
            file=sys.stderr,
        )
        self.records.append(
            EvaluationRecord(
                step=step,
                scores=evaluation.scores,
                num_gaussians=len(trainer.splats["means"]),
                train_seconds=trainer.progress.train_seconds,
                render_seconds=evaluation.render_seconds,
            )
        )
        return evaluation

    def _export(self, trainer: Trainer) -> None:
        """The model in COLMAP's frame, for viewers."""
        save_ply(
            self.folder / run_folder.POINT_CLOUD,
            trainer.splats,
            world_transform=np.linalg.inv(self.loaded.scene.normalized_from_colmap),
            antialiased=self.config.render.antialiased,
        )

    def _per_view(self, evaluation: Evaluation) -> PerView:
        config = self.config
        return PerView(
            scene=self.loaded.scene.name,
            strategy=config.strategy,
            seed=config.seed,
            step=config.steps,
            protocol=protocol_name(config),
            views=evaluation.views,
        )

    def _results(self, trainer: Trainer, evaluation: Evaluation, initial: int) -> Results:
        config = self.config
        return Results(
            scene=self.loaded.scene.name,
            strategy=StrategyRecord(name=config.strategy, options=config.strategy_options),
            seed=config.seed,
            steps=config.steps,
            config=to_mapping(config),
            protocol=protocol_of(
                config, self.loaded.scene, self.device, seed=config.seed, steps=config.steps
            ),
            scores=evaluation.scores,
            unavailable=evaluation.unavailable,
            evaluations=self.records,
            counts=Counts(
                initial=initial,
                final=len(trainer.splats["means"]),
                peak=trainer.progress.peak_gaussians,
            ),
            wall_time=WallTime(
                load=self.loaded.seconds,
                train=trainer.progress.train_seconds,
                evaluate=self.evaluate_seconds,
                total=time.perf_counter() - self.started,
                first_step=_since(self.started, trainer.progress.first_step_at),
            ),
            peak_memory=record.peak_memory(self.device),
            versions=record.versions(),
            hardware=record.hardware(self.device),
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            command=self.command,
        )


def _since(started: float, at: float | None) -> float | None:
    return None if at is None else at - started


def _decibel(value: float | None) -> str:
    return "not known" if value is None else f"{value:.2f} dB"
