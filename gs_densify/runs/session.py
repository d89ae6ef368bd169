"""One process of a run: it trains to the last step and writes every file but the configuration."""

import dataclasses
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone

from gs_densify.config.file import plain
from gs_densify.config.layers import protocol_name
from gs_densify.distributed.group import ALONE, Group
from gs_densify.errors import (
    GsDensifyError,
    InterruptedRunError,
    LostProcessError,
    PausedError,
    ResultError,
)
from gs_densify.evaluation.evaluate import Evaluation
from gs_densify.messages import Bar, Progress, remark
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
from gs_densify.results.encode import encode
from gs_densify.runs import environment as record
from gs_densify.runs import layout as run_folder
from gs_densify.runs.background import Background
from gs_densify.runs.checkpoint import random_state
from gs_densify.runs.checkpoint_writer import CheckpointWriter
from gs_densify.runs.held_folder import HeldFolder
from gs_densify.runs.made_trainer import made_trainer
from gs_densify.runs.outputs.all import outputs_of
from gs_densify.runs.outputs.base import RunFacts
from gs_densify.runs.outputs.profile import profiled
from gs_densify.runs.pause import BY_OTHERS, PauseWish
from gs_densify.runs.prepare import Prepared
from gs_densify.runs.run_state import RunState
from gs_densify.runs.score import protocol_of, score
from gs_densify.runs.shortage import saying_shortage
from gs_densify.runs.stopwatch import Stopwatch
from gs_densify.training.trainer import Trainer


class RunProcess:
    """Joins a trainer with the files of its run."""

    def __init__(
        self,
        ready: Prepared,
        held: HeldFolder,
        state: RunState,
        clock: Stopwatch,
        group: Group = ALONE,
    ) -> None:
        """Takes a `clock` that runs since the process was asked to begin."""
        self._ready, self._group = ready, group
        self.config, self.loaded, self.device = ready.config, ready.loaded, ready.device
        self.held, self.folder = held, held.path
        self.state, self.clock, self.writing = state, clock, Background()
        self.before = dataclasses.replace(state)
        self.is_to_end = PauseWish()
        self.checkpoints = CheckpointWriter(ready.config, held, self.writing)
        resumed_at = max(state.resumed_at, default=0)
        facts = RunFacts(ready.config, held.path, ready.loaded.scene, resumed_at)
        self.outputs = outputs_of(facts)

    def make_trainer(self) -> Trainer:
        """Returns a trainer at step 0."""
        for output in self.outputs:
            output.loaded()
        with saying_shortage(self.device):
            trainer = made_trainer(self._ready, self._group)
        for output in self.outputs:
            output.initialized(trainer.num_gaussians)
        return trainer

    def finish(self, trainer: Trainer) -> Results:
        """Trains to the last step and writes the files."""
        self.clock.lap("prepare")
        trainer.is_to_pause = lambda: self.is_to_end() or self.checkpoints.until_next.is_over()
        self.checkpoints.until_next.begin()
        with (
            self.is_to_end.listening(*BY_OTHERS),
            saying_shortage(self.device, trainer, f"what was saved before is in {self.held.named}"),
            self._saying_how_to_resume(),
            self._closing_outputs(),
            self.writing,
        ):
            evaluation = self._train_and_evaluate(trainer)
            results = self._write(trainer, evaluation)
            trainer.dismiss()
            return results

    @contextmanager
    def _saying_how_to_resume(self) -> Iterator[None]:
        try:
            yield
        except ResultError as error:  # a file that cannot be written
            if error.action or not self.checkpoints.is_there:
                raise
            action = f"mend that, and go on with {self.checkpoints.how_to_resume}"
            raise ResultError(error.found, expected=error.expected, action=action) from error
        except LostProcessError as error:
            action = f"go on with {self.checkpoints.how_to_resume}"
            if not self.checkpoints.is_there:
                action = "there is no checkpoint yet (--checkpoint-minutes): begin anew"
            raise LostProcessError(error.found, action=action) from error
        except GsDensifyError:
            raise
        except BaseException:  # Ctrl-C, or a fault of ours
            if self.checkpoints.is_there:
                print(f"to go on: {self.checkpoints.how_to_resume}", file=sys.stderr)
            raise

    @contextmanager
    def _closing_outputs(self) -> Iterator[None]:
        with ExitStack() as stack:
            for output in self.outputs:
                stack.callback(output.close)
            yield

    def _train_and_evaluate(self, trainer: Trainer) -> Evaluation:
        """Trains to the last step, with a checkpoint at every stop and by time; the last
        evaluation.

        What is checkpointed and what is scored at a step is the same model: files are written while
        it is scored, and it is trained on when both are done. A run that goes on from a checkpoint
        that was still to be scored begins with that.
        """
        config, state, start = self.config, self.state, trainer.progress.step
        evaluation: Evaluation | None = None

        def on_log(row: MetricsRow) -> None:
            self.held.check()
            if row.step == stop and stop in config.scored_steps:
                state.pending = row  # waits for its PSNR
            else:
                log.append(row)
            for output in self.outputs:
                output.logged(row)

        self.checkpoints.remove_before(start)
        kept = None if start == 0 else start if state.pending is None else start - 1
        with (
            MetricsLog(self.folder / run_folder.METRICS, resume_step=kept) as log,
            Progress("train", config.length, unit="step", initial=start) as progress,
        ):
            for stop in config.stops_from(start):
                if stop > start:
                    self._train(trainer, stop, on_log, progress.bar)
                    self._save(trainer)
                    self._end_if_asked(trainer)
                if stop == config.length:
                    _say_waits(trainer)
                if stop in config.scored_steps:
                    evaluation = self._hand_out(trainer, log) or evaluation
                if stop < config.length:
                    self.writing.wait()
                    self.clock.lap("checkpoint")
        assert evaluation is not None  # the last stop is scored
        return evaluation

    def _hand_out(self, trainer: Trainer, log: MetricsLog) -> Evaluation | None:
        """Gives the model to the outputs at the last step; returns its scores where these are
        pending.
        """
        state = self.state
        if trainer.progress.step == self.config.length:
            splats = trainer.whole()
            for output in self.outputs:
                self.writing.start(output.trained, splats)
        if state.pending is None:
            return None
        evaluation = self._evaluate(trainer)
        log.append(dataclasses.replace(state.pending, psnr=evaluation.scores["psnr"]))
        state.pending = None
        return evaluation

    def _end_if_asked(self, trainer: Trainer) -> None:
        """Raises PausedError where the process was told to end, once the checkpoint is there.

        A run whose last step is done is finished instead, but not after Ctrl-C.
        """
        step, is_interrupt = trainer.progress.step, self.is_to_end.signal == signal.SIGINT
        if not self.is_to_end() or (step == self.config.length and not is_interrupt):
            return
        trainer.dismiss()
        self.writing.wait()
        why_not = self.checkpoints.why_not_resumable
        action = f"go on with {self.checkpoints.how_to_resume}"
        action = action if why_not is None else f"it cannot be resumed: {why_not}"
        if is_interrupt:
            raise InterruptedRunError(
                f"{self.held.named}: interrupted, and saved after step {step}", action=action
            )
        raise PausedError(
            f"{self.held.named}: told to end, and saved after step {step}", action=action
        )

    def _train(
        self, trainer: Trainer, until: int, on_log: Callable[[MetricsRow], None], bar: Bar
    ) -> None:
        """Trains to step `until`, or until told to end, and traces the steps that --profile
        names.
        """
        first, last = self.config.profile or (until, until)
        first, last = max(first, trainer.progress.step), min(last, until)
        with self.is_to_end.listening(signal.SIGINT):
            if first < last:
                self._advance(trainer, first, on_log, bar)
                if not self.is_to_end():
                    with profiled(trainer, self.folder / run_folder.PROFILE):
                        self._advance(trainer, last, on_log, bar)
            self._advance(trainer, until, on_log, bar)

    def _advance(
        self, trainer: Trainer, until: int, on_log: Callable[[MetricsRow], None], bar: Bar
    ) -> None:
        """Trains to step `until`, or until told to end, with checkpoints by time."""
        while trainer.progress.step < until and not self.is_to_end():
            if trainer.run(until, on_log, bar):
                self.is_to_end.signal = signal.SIGTERM  # which another process got alone
            if "first_step" not in self.clock.parts:
                self.clock.lap("first_step", until=trainer.progress.first_step_at)
            self.clock.lap("train")
            if trainer.progress.step < until and not self.is_to_end():
                self._save_by_time(trainer)

    def _save_by_time(self, trainer: Trainer) -> None:
        """Writes a checkpoint for which nobody asked: what is in its way is said, and no more."""
        step, saved = trainer.progress.step, self.checkpoints
        is_first = not saved.is_there
        try:
            self._save(trainer)
            self.writing.wait()
        except ResultError as error:
            remark(f"step {step}: there is no checkpoint, and training goes on: {error}")
        else:
            if is_first and saved.why_not_resumable is None:
                remark(f"step {step}: saved; should the run be cut off: {saved.how_to_resume}")
        self.clock.lap("checkpoint")

    def _save(self, trainer: Trainer) -> None:
        """Begins to write a checkpoint."""
        self._update_state(trainer)
        random = random_state(self.device)
        self.checkpoints.start(
            {**trainer.state_dict(), "random": random, "run": encode(self.state)}
        )
        self.clock.lap("checkpoint")

    def _update_state(self, trainer: Trainer) -> None:
        """Times and memory until now."""
        state, before, now = self.state, self.before, self.clock.parts
        first = trainer.progress.first_step_at
        if state.first_step is None and first is not None:
            state.first_step = first - self.clock.started
        state.parts = {
            name: before.parts.get(name, 0.0) + now.get(name, 0.0)
            for name in {**now, **before.parts}
        }
        spent = now.get("checkpoint", 0.0) + now.get("evaluate", 0.0)
        state.evaluate_seconds = before.evaluate_seconds + spent
        state.total_seconds = before.total_seconds + self.clock.seconds
        memory = record.peak_memory(self.device)
        state.note_memory(dataclasses.replace(memory, device=trainer.peak_device_bytes()))

    def _evaluate(self, trainer: Trainer) -> Evaluation:
        step = trainer.progress.step
        evaluation = score(
            self.config,
            trainer.render,
            self.loaded,
            device=self.device,
            pictures=self.folder / run_folder.RENDERS if step == self.config.length else None,
        )
        remark(
            f"step {step}: PSNR {_decibel(evaluation.scores['psnr'])},"
            f" {trainer.num_gaussians:,} Gaussians,"
            f" {trainer.progress.train_seconds:.1f} s of training"
        )
        evaluated = EvaluationRecord(
            step=step,
            scores=evaluation.scores,
            num_gaussians=trainer.num_gaussians,
            train_seconds=trainer.progress.train_seconds,
            render_seconds=evaluation.render_seconds,
        )
        self.state.evaluations.append(evaluated)
        for output in self.outputs:
            output.evaluated(evaluated)
        self.clock.lap("evaluate")
        return evaluation

    def _write(self, trainer: Trainer, evaluation: Evaluation) -> Results:
        """Returns the files of a run that is done; results.json, which says so, comes last."""
        self.held.check()
        results = self._results(trainer, evaluation)
        per_view = self._per_view(evaluation)
        save_json(self.folder / run_folder.PER_VIEW, per_view)
        for output in self.outputs:
            output.scored(results, per_view)
        self.writing.wait()
        self.clock.lap("files")
        self._update_state(trainer)
        results = dataclasses.replace(
            results, wall_time=self._wall_time(trainer), peak_memory=self.state.peak_memory
        )
        save_json(self.folder / run_folder.RESULTS, results)
        self.held.check()
        for output in self.outputs:
            output.finished(results)
        return results

    def _per_view(self, evaluation: Evaluation) -> PerView:
        config = self.config
        return PerView(
            scene=self.loaded.scene.name,
            strategy=config.strategy,
            seed=config.seed,
            step=config.length,
            protocol=protocol_name(config),
            views=evaluation.views,
        )

    def _results(self, trainer: Trainer, evaluation: Evaluation) -> Results:
        config, state = self.config, self.state
        return Results(
            scene=self.loaded.scene.name,
            strategy=StrategyRecord(name=config.strategy, options=plain(config.strategy_options)),
            seed=config.seed,
            steps=config.length,
            config=state.config,
            protocol=protocol_of(
                config,
                self.loaded,
                trainer.renderer,
                self.device,
                evaluation,
                seed=config.seed,
                steps=config.length,
            ),
            scores=evaluation.scores,
            unavailable=evaluation.unavailable,
            evaluations=state.evaluations,
            counts=Counts(
                initial=state.num_initial,
                final=trainer.num_gaussians,
                peak=trainer.progress.peak_gaussians,
            ),
            wall_time=self._wall_time(trainer),
            peak_memory=state.peak_memory,
            versions=record.versions(),
            hardware=record.hardware(self.device),
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            command=state.command,
            resumed_at=state.resumed_at,
            resumed_with=state.resumed_with,
            code=state.code,
            data=state.data,
            memory_plan=state.memory_plan,
            found=trainer.restraint.found
            | ({"steps": steps} if (steps := state.found.steps) else {}),
        )

    def _wall_time(self, trainer: Trainer) -> WallTime:
        state = self.state
        return WallTime(
            load=self.loaded.seconds,
            train=trainer.progress.train_seconds,
            photos=trainer.progress.photo_seconds,
            evaluate=state.evaluate_seconds,
            total=state.total_seconds,
            first_step=state.first_step,
            parts=state.parts,
        )


def _say_waits(trainer: Trainer) -> None:
    """Says how long steps waited for photos, where these are on the disk."""
    waited, seconds = trainer.progress.photo_seconds, trainer.progress.train_seconds
    if waited is not None:
        remark(
            f"of {seconds:.1f} s of training, steps waited for photos from the disk"
            f" {waited:.1f} s ({waited / max(seconds, 1e-9):.1%})"
        )


def _decibel(value: float | None) -> str:
    return "not known" if value is None else f"{value:.2f} dB"
