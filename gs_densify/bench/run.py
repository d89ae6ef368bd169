"""Runs the cells of a plan on the slots that there are; one that fails costs only itself."""

import dataclasses
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

from gs_densify.bench.estimate import from_finished
from gs_densify.bench.executors.base import Executor, Job
from gs_densify.bench.folder import StudyFolder
from gs_densify.bench.matrix import Cell
from gs_densify.bench.options import RunOptions
from gs_densify.bench.plan import (
    NOT_RETRIED,
    Plan,
    PlannedCell,
    attached,
    follows,
    plan_cell,
    spread_over,
)
from gs_densify.bench.progress import Progress, read_progress
from gs_densify.bench.slots import Slot
from gs_densify.bench.state import Attempt, CellState, new_state, save_state
from gs_densify.messages import duration
from gs_densify.results.names import METRICS

_POLL_SECONDS = 0.2
_SECONDS_TO_SAVE = 120
"""That a process has to save a checkpoint and end, before it is killed."""
_LONGEST_LINE = 300


@dataclasses.dataclass
class Running:
    """A cell that runs."""

    planned: PlannedCell
    state: CellState
    slot: Slot
    handle: Any
    begun: float
    """Of `time.monotonic`."""
    cancelled: float | None = None
    why: str | None = None
    """Why it was cancelled."""

    @property
    def cell(self) -> Cell:
        """Returns the cell."""
        return self.planned.cell

    @property
    def attempt(self) -> Attempt:
        """Returns the attempt."""
        return self.state.attempts[-1]


@dataclasses.dataclass(frozen=True)
class Failure:
    """A cell that could not be finished."""

    cell: Cell
    error: str
    log: Path | None


class View(Protocol):
    """Shows how a study goes."""

    def said(self, text: str) -> None:
        """Shows a line that stays."""

    def update(self, runner: "Runner") -> None:
        """Shows the present state; called several times a second."""


class Runner:
    """The cells of a study that wait, run, are done, and have failed."""

    def __init__(
        self,
        folder: StudyFolder,
        plan: Plan,
        executor: Executor,
        slots: Sequence[Slot],
        options: RunOptions,
        view: View,
        *,
        retries: int,
        timeout: float | None,
    ) -> None:
        """Takes the further attempts at a cell that fails, and the seconds of each attempt."""
        self.folder, self.plan, self.executor, self.options = folder, plan, executor, options
        self.view, self.retries, self.timeout = view, retries, timeout
        self.num_slots = len(slots)
        self.free = deque(slots)
        self.waiting = deque(plan.open)
        self.running: list[Running] = []
        self.failures: list[Failure] = []
        self.num_done = len(plan.cells) - len(plan.open)
        self._tries: dict[str, int] = {}
        self._waited_for: set[str] = set()

    def run(self) -> None:
        """Runs all that is open.

        Raises:
            KeyboardInterrupt: at Ctrl-C or SIGTERM, when the cells that ran have ended.
        """
        try:
            with _termination_as_interrupt():
                while self.waiting or self.running:
                    self._begin_some()
                    self._poll()
                    self.view.update(self)
                    time.sleep(_POLL_SECONDS)
        except KeyboardInterrupt:
            self._stop()
            raise

    def progress_of(self, running: Running) -> Progress | None:
        """Returns how far a cell is."""
        return read_progress(self.folder.run(running.cell) / METRICS)

    def seconds_left(self) -> float | None:
        """Returns the expected time until all is done; None where it is not known."""
        left = [self.seconds_left_of(one) for one in self.running]
        waiting = [self.plan.seconds_of(one.cell) for one in self.waiting]
        return spread_over([*left, *waiting], self.num_slots)

    def seconds_left_of(self, running: Running) -> float | None:
        """Returns the expected time of a cell's steps to come: at the pace of its last ones."""
        progress = self.progress_of(running)
        expected = self.plan.seconds_of(running.cell)
        if progress is None or progress.step_milliseconds is None:
            return expected
        steps = self.plan.steps_of(running.cell)
        by_pace = 1e-3 * progress.step_milliseconds * (steps - progress.step)
        if expected is None:
            return by_pace
        # Early steps are faster than late ones, of which only the expected time knows.
        return max(by_pace, expected * (1 - progress.step / steps))

    def _begin_some(self) -> None:
        for _ in range(len(self.waiting)):
            if not self.free:
                return
            planned = self.waiting.popleft()
            if self.folder.is_being_trained(planned.cell) and planned.action != "follow":
                self._wait_for(planned)
            else:
                self._begin(plan_cell(planned.cell, self.folder, self.executor))

    def _wait_for(self, planned: PlannedCell) -> None:
        self.waiting.append(planned)
        name = planned.cell.name
        if name not in self._waited_for:
            self._waited_for.add(name)
            self.view.said(f"{name}: a process of an earlier call still trains it; waits for that")

    def _begin(self, planned: PlannedCell) -> None:
        cell, folder = planned.cell, self.folder
        if planned.action == "done":  # by the process of an earlier call
            self._end_well(cell, planned.state)
            return
        slot = self.free.popleft()
        if planned.action == "follow":
            assert planned.state is not None
            handle = attached(self.executor, planned.state)
            self.running.append(Running(planned, planned.state, slot, handle, time.monotonic()))
            self.view.said(f"{cell.name}: job {planned.state.attempts[-1].job} is still there")
            return
        if planned.action == "anew":
            self._make_room(planned)
        state = self._next_state(planned)
        log = folder.log(cell)
        job = Job(
            cell.name,
            cell.arguments,
            folder.run(cell).absolute(),
            log.absolute(),
            slot.environment,
            self.timeout,
        )
        handle = self.executor.start(job)
        together = 1 + sum(one.slot.place == slot.place for one in self.running)
        state.attempts.append(
            Attempt(
                started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
                executor=self.options.executor,
                slot=slot.place,
                together=together,
                resumed=planned.action == "resume",
                log=folder.relative(log),
                job=self.executor.job_of(handle),
            )
        )
        state.status = "running"
        save_state(folder, cell, state)
        for one in self.running:
            if one.slot.place == slot.place:
                one.attempt.together = max(one.attempt.together, together)
        self.running.append(Running(planned, state, slot, handle, time.monotonic()))
        what = "goes on" if planned.action == "resume" else "begins"
        self.view.said(f"{cell.name}: {what} on {slot.place}")

    def _make_room(self, planned: PlannedCell) -> None:
        """Moves what lies in the cell's folder away, and cancels a job that still writes there."""
        if planned.state is not None and follows(self.executor, planned.state):
            self.executor.cancel(attached(self.executor, planned.state))
        place = self.folder.supersede(planned.cell)
        if place is not None:
            where = self.folder.relative(place)
            self.view.said(f"{planned.cell.name}: {planned.reason}; what was there is in {where}")

    def _next_state(self, planned: PlannedCell) -> CellState:
        """Returns the state with attempts that are still of this run."""
        before = planned.state
        is_same = before is not None and before.fingerprint == planned.fingerprint
        state = new_state(planned.cell, planned.fingerprint)
        return dataclasses.replace(state, attempts=before.attempts) if is_same and before else state

    def _poll(self) -> None:
        for running in list(self.running):
            code = self.executor.poll(running.handle)
            if code is None:
                self._watch_time(running)
                continue
            self.running.remove(running)
            self.free.append(running.slot)
            self._end(running, code)

    def _watch_time(self, running: Running) -> None:
        now, limit = time.monotonic(), self.timeout
        if running.cancelled is not None:
            if now - running.cancelled > _SECONDS_TO_SAVE:
                self.executor.kill(running.handle)
        elif limit is not None and now - running.begun > limit and not self.executor.outlives:
            running.cancelled, running.why = now, f"took longer than {duration(limit)}"
            self.executor.cancel(running.handle)

    def _end(self, running: Running, code: int) -> None:
        cell, state, attempt = running.cell, running.state, running.attempt
        attempt.seconds = round(time.monotonic() - running.begun, 1)
        attempt.exit_code = code
        log = self.folder.root / attempt.log
        if code == 0 and self.folder.is_done(cell):
            self._end_well(cell, state)
            return
        attempt.error = running.why or last_line(log) or _ending(code)
        tries = self._tries[cell.name] = self._tries.get(cell.name, 0) + 1
        is_over = (code in NOT_RETRIED and running.why is None) or tries > self.retries
        state.status = "failed" if is_over else "waiting"
        save_state(self.folder, cell, state)
        if is_over:
            self.failures.append(Failure(cell, attempt.error, log))
            self.view.said(f"{cell.name}: failed: {attempt.error} ({log})")
        else:
            self.waiting.appendleft(running.planned)
            self.view.said(f"{cell.name}: {attempt.error} ({log}); another attempt")

    def _end_well(self, cell: Cell, state: CellState | None) -> None:
        assert state is not None
        state.status = "done"
        if state.attempts and state.attempts[-1].exit_code is None:
            state.attempts[-1].exit_code = 0
        if not self.options.keep_checkpoints:
            self.folder.remove_checkpoints(cell)
        save_state(self.folder, cell, state)
        self.num_done += 1
        self.plan.estimates |= from_finished(self.folder, [cell])  # its row's others take as long
        self.view.said(f"{cell.name}: done")

    def _stop(self) -> None:
        """Ends what runs, which may save a checkpoint; a second Ctrl-C ends it at once."""
        if self.executor.outlives:
            return
        for running in self.running:
            self.executor.cancel(running.handle)
        patience = time.monotonic() + _SECONDS_TO_SAVE
        with _termination_as_interrupt():
            try:
                while self._are_running() and time.monotonic() < patience:
                    time.sleep(_POLL_SECONDS)
            except KeyboardInterrupt:
                pass
        for running in self.running:
            self.executor.kill(running.handle)
        while self._are_running():
            time.sleep(_POLL_SECONDS)
        for running in self.running:
            self._note_stopped(running)

    def _are_running(self) -> bool:
        return any(self.executor.poll(running.handle) is None for running in self.running)

    def _note_stopped(self, running: Running) -> None:
        if self.folder.is_done(running.cell):
            self._end_well(running.cell, running.state)
            return
        running.attempt.seconds = round(time.monotonic() - running.begun, 1)
        running.attempt.exit_code = self.executor.poll(running.handle)
        running.attempt.error, running.state.status = "interrupted", "interrupted"
        save_state(self.folder, running.cell, running.state)


@contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """Makes SIGTERM what Ctrl-C is, also where SIGINT is ignored, as in a background job.

    A handler that Python does not know, and so could not put back, stays.
    """
    before: dict[signal.Signals, Any] = {
        number: signal.signal(number, _interrupt)
        for number in (signal.SIGTERM, signal.SIGINT)
        if signal.getsignal(number) is not None
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def _ending(code: int) -> str:
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    return f"exit code {code}"


def last_line(log: Path) -> str:
    """Returns the last line of a log that is not empty, shortened."""
    try:
        lines = log.read_bytes()[-8192:].decode(errors="replace").splitlines()
    except OSError:
        return ""
    text = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]}..."
