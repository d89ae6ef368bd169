"""One process of a run: it trains to the last step and writes every file but the configuration."""

import dataclasses
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from gs_densify.data.export_cameras import inria_cameras
from gs_densify.evaluation.evaluate import Evaluation
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
from gs_densify.training import record, run_folder
from gs_densify.training.build import SCENE_SCALE_MARGIN, build_trainer
from gs_densify.training.checkpoint import checkpoint_path, random_state, save_checkpoint
from gs_densify.training.config import TrainConfig
from gs_densify.training.config_file import to_mapping
from gs_densify.training.device import memory_shortage
from gs_densify.training.load import LoadedScene
from gs_densify.training.mls_bench import MlsBenchLines
from gs_densify.training.presets import protocol_name
from gs_densify.training.profiling import profiled
from gs_densify.training.progress import shows_progress
from gs_densify.training.run_state import Clock, RunState, larger
from gs_densify.training.scoring import protocol_of, score
from gs_densify.training.strategy_host import StrategyHost
from gs_densify.training.trainer import Trainer

_REMEDIES = "use --max-gaussians, a larger --downscale, or a smaller --data.image-budget"


class RunProcess:
    """Joins a trainer with the files of its run."""

    def __init__(
        self,
        config: TrainConfig,
        folder: Path,
        loaded: LoadedScene,
        device: torch.device,
        state: RunState,
        clock: Clock,
        lines: MlsBenchLines,
    ) -> None:
        self.config, self.folder, self.loaded, self.device = config, folder, loaded, device
        self.state, self.clock, self.lines = state, clock, lines

    def make_trainer(self, strategy: Any) -> Trainer:
        """A trainer at step 0."""
        config, scene = self.config, self.loaded.scene
        margin = scene.scene_scale * SCENE_SCALE_MARGIN
        self.lines.loaded(len(scene.train_views), len(scene.test_views), margin)
        with memory_shortage(lambda: f"before the first step; {_REMEDIES}"):
            trainer = build_trainer(
                config,
                StrategyHost(config.strategy, strategy, max_gaussians=config.max_gaussians),
                points=scene.points,
                colors=scene.colors,
                views=scene.train_views,
                photos=_taken(self.loaded.train_photos),
                masks=self.loaded.train_masks,
                scene_scale=scene.scene_scale,
                device=self.device,
            )
        self.lines.initialized(len(scene.points))
        return trainer

    def finish(self, trainer: Trainer) -> Results:
        """Train to the last step and write the files."""
        shortage = memory_shortage(
            lambda: (
                f"after step {trainer.progress.step} with {len(trainer.splats['means']):,}"
                f" Gaussians; {_REMEDIES}; what was saved before is in {self.folder}"
            )
        )
        with shortage, self._saying_how_to_resume():
            evaluation = self._train_and_evaluate(trainer)
            return self._write(trainer, evaluation)

    @contextmanager
    def _saying_how_to_resume(self) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            if any(self.folder.glob("checkpoints/step_*.pt")):
                print(f"to go on: gs-train --resume {self.folder}", file=sys.stderr)
            raise

    def _train_and_evaluate(self, trainer: Trainer) -> Evaluation:
        """To the last step, with a checkpoint at every stop; the last evaluation."""
        config, start = self.config, trainer.progress.step
        scored = {*config.evaluation.steps, config.steps}
        every = config.checkpoint_every or config.steps
        stops = [0, *sorted({*scored, *range(every, config.steps, every)})]
        evaluation: Evaluation

        def on_log(row: MetricsRow) -> None:
            if row.step == stop and stop in scored:
                self.state.pending = row  # waits for its PSNR
            else:
                log.append(row)
            self.lines.progress(row)

        # What is checkpointed and what is scored at a step is the same model; a run that goes on
        # from a checkpoint that was to be scored begins with that.
        kept = start - (start in scored)
        with (
            MetricsLog(
                self.folder / run_folder.METRICS, resume_step=kept if start else None
            ) as log,
            tqdm(
                total=config.steps,
                initial=start,
                desc="train",
                unit="step",
                disable=not shows_progress(),
                dynamic_ncols=True,
            ) as bar,
        ):
            for before, stop in pairwise(stops):
                if stop > start:
                    self._train(trainer, stop, on_log, bar)
                    self._save(trainer)
                    if before not in scored:
                        checkpoint_path(self.folder, before).unlink(missing_ok=True)
                if stop >= start and stop in scored:
                    evaluation = self._evaluate(trainer)
                    log.append(self._completed_row(evaluation))
        return evaluation

    def _completed_row(self, evaluation: Evaluation) -> MetricsRow:
        row, self.state.pending = self.state.pending, None
        assert row is not None
        return dataclasses.replace(row, psnr=evaluation.scores.psnr)

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

    def _save(self, trainer: Trainer) -> None:
        started = time.perf_counter()
        contents = {
            **trainer.state_dict(),
            "random": random_state(),
            "run": dataclasses.asdict(self._noted(trainer)),
        }
        save_checkpoint(checkpoint_path(self.folder, trainer.progress.step), contents)
        self.state.evaluate_seconds += time.perf_counter() - started

    def _noted(self, trainer: Trainer) -> RunState:
        """The state, with times and memory until now."""
        state, first = self.state, trainer.progress.first_step_at
        if state.first_step is None and first is not None:
            state.first_step = self.clock.since_start(first)
        state.total_seconds = self.clock.total()
        state.peak_memory = larger(state.peak_memory, record.peak_memory(self.device))
        return state

    def _evaluate(self, trainer: Trainer) -> Evaluation:
        started = time.perf_counter()
        step = trainer.progress.step
        evaluation = score(
            self.config,
            trainer.rasterizer,
            trainer.splats,
            self.loaded,
            pictures=self.folder / run_folder.RENDERS if step == self.config.steps else None,
        )
        self.state.evaluate_seconds += time.perf_counter() - started
        print(
            f"step {step}: PSNR {_decibel(evaluation.scores.psnr)},"
            f" {len(trainer.splats['means']):,} Gaussians,"
            f" {trainer.progress.train_seconds:.1f} s of training",
            file=sys.stderr,
        )
        self.state.evaluations.append(
            EvaluationRecord(
                step=step,
                scores=evaluation.scores,
                num_gaussians=len(trainer.splats["means"]),
                train_seconds=trainer.progress.train_seconds,
                render_seconds=evaluation.render_seconds,
            )
        )
        return evaluation

    def _write(self, trainer: Trainer, evaluation: Evaluation) -> Results:
        """The files of a run that is done; results.json, which says so, comes last."""
        results = self._results(trainer, evaluation)
        per_view = self._per_view(evaluation)
        save_json(self.folder / run_folder.PER_VIEW, per_view)
        self._export(trainer)
        cameras = inria_cameras(self.loaded.scene)
        save_compat(self.folder / run_folder.COMPAT, results, per_view, cameras)
        save_json(self.folder / run_folder.RESULTS, results)
        self.lines.finished(self.state.evaluations, results.wall_time.total)
        return results

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

    def _results(self, trainer: Trainer, evaluation: Evaluation) -> Results:
        config, state = self.config, self._noted(trainer)
        assert state.peak_memory is not None
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
            evaluations=state.evaluations,
            counts=Counts(
                initial=state.num_initial,
                final=len(trainer.splats["means"]),
                peak=trainer.progress.peak_gaussians,
            ),
            wall_time=WallTime(
                load=self.loaded.seconds,
                train=trainer.progress.train_seconds,
                evaluate=state.evaluate_seconds,
                total=state.total_seconds,
                first_step=state.first_step,
            ),
            peak_memory=state.peak_memory,
            versions=record.versions(),
            hardware=record.hardware(self.device),
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            command=state.command,
            resumed_at=state.resumed_at,
        )


def _taken(photos: list[np.ndarray]) -> Iterator[np.ndarray]:
    """The photos, each let go of when the next is asked for: the host never holds them twice."""
    while photos:
        yield photos.pop(0)


def _decibel(value: float | None) -> str:
    return "not known" if value is None else f"{value:.2f} dB"
