"""Which cell runs when, on an executor that only pretends."""

import dataclasses
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gs_densify.bench import run as bench_run
from gs_densify.bench.executors.base import Job
from gs_densify.bench.folder import StudyFolder
from gs_densify.bench.matrix import Cell, cells_of
from gs_densify.bench.options import RunOptions
from gs_densify.bench.plan import make_plan, memory_remarks
from gs_densify.bench.run import Runner
from gs_densify.bench.slots import Slot
from gs_densify.bench.state import CellState, load_state
from gs_densify.bench.study import parse_study
from gs_densify.bench.views import Quiet, counts_text
from gs_densify.cli.arguments import parse_train_arguments
from gs_densify.errors import ConfigError

STUDY = {"scenes": ["tiny"], "methods": ["mcmc"], "seeds": [1, 2, 3], "options": {"device": "cpu"}}
LONG = 10**6


@dataclasses.dataclass
class Handle:
    """A process of some polls, and its end."""

    job: Job
    polls: int
    code: int


class Pretender:
    """Ends each cell as `script` says: exit codes of its attempts, and 0 beyond them."""

    def __init__(self, script: dict[str, list[int]], *, outlives: bool = False, polls: int = 1):
        self.script, self.outlives, self.polls = script, outlives, polls
        self.handles: list[Handle] = []
        self.cancelled: list[str] = []
        self.most_at_a_time = 0

    def start(self, job: Job) -> Handle:
        codes = self.script.get(job.name, [])
        job.run.mkdir(parents=True, exist_ok=True)
        self.handles.append(Handle(job, self.polls, codes.pop(0) if codes else 0))
        running = sum(one.polls > 0 for one in self.handles)
        self.most_at_a_time = max(self.most_at_a_time, running)
        return self.handles[-1]

    def poll(self, handle: Handle) -> int | None:
        handle.polls -= 1
        if handle.polls >= 0:
            return None
        if handle.code == 0:
            (handle.job.run / "results.json").write_text("{}")
        return handle.code

    def cancel(self, handle: Handle) -> None:
        self.cancelled.append(handle.job.name)
        handle.polls, handle.code = 0, 75

    def kill(self, handle: Handle) -> None:
        self.cancel(handle)

    def job_of(self, handle: Handle) -> str | None:
        return str(self.handles.index(handle)) if self.outlives else None

    def attach(self, number: str) -> Any | None:
        return self.handles[int(number)] if self.outlives else None


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_run, "_POLL_SECONDS", 0.001)


def runner(
    root: Path,
    executor: Pretender,
    slots: int = 1,
    study: Mapping[str, Any] = STUDY,
    **limits: Any,
) -> Runner:
    folder = StudyFolder(root)
    study = parse_study(study, "study.yml", root)
    plan = make_plan(cells_of(study, parse_train_arguments), folder, executor)
    limits = {"retries": 1, "timeout": None, **limits}
    places = [Slot("GPU 0", {})] * slots
    return Runner(folder, plan, executor, places, RunOptions(), Quiet(), **limits)


def state(one: Runner, cell: Cell) -> CellState:
    found = load_state(one.folder, cell)
    assert found is not None
    return found


def test_rows_that_a_memory_limit_makes_fit_are_not_named_as_too_large(tmp_path: Path) -> None:
    limited = {"strategy": "default", "options": {"memory_limit": "600MB"}}
    methods = {"whole": {"strategy": "default"}, "limited": limited}
    study = {**STUDY, "methods": methods, "options": {"max_gaussians": 1_000_000}}
    plan = runner(tmp_path, Pretender({}), study=study).plan
    (said,) = memory_remarks(plan, 6e8)
    assert said.startswith("tiny whole: is expected to need ")


def test_a_row_that_cannot_be_carried_out_is_named(tmp_path: Path) -> None:
    options = {"gpus": 2, "parallel": "gaussians"}
    study = {**STUDY, "methods": ["default", "taming"], "options": options}
    with pytest.raises(ConfigError, match=r"^study.yml: methods: taming, scene tiny: strategy"):
        runner(tmp_path, Pretender({}), study=study)


def test_cells_whose_length_is_open_are_planned_with_the_one_that_is_found(
    tmp_path: Path,
) -> None:
    options = {"steps": "auto", "batch_size": 2, "device": "cpu"}
    study = {**STUDY, "options": options, "presets": ["quality", "fast"], "seeds": [1, 2]}
    one = runner(tmp_path, Pretender({}), study=study)
    assert [planned.steps for planned in one.plan.rows] == [1000, 300]
    cells = [planned.cell for planned in one.plan.cells]
    assert [one.plan.steps_of(cell) for cell in cells] == [1000, 1000, 300, 300]
    assert all("auto" in cell.arguments for cell in cells)
    one.run()
    assert one.num_done == 4


def test_a_handler_that_python_does_not_know_outlives_a_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers: dict[int, Any] = {signal.SIGTERM: None, signal.SIGINT: signal.default_int_handler}
    taken = []

    def take(number: int, handler: Any) -> Any:
        if handler is None:
            raise TypeError("as Python's own does")
        taken.append(number)
        before, handlers[number] = handlers[number], handler
        return before

    one = runner(tmp_path, Pretender({}))
    monkeypatch.setattr(signal, "signal", take)
    monkeypatch.setattr(signal, "getsignal", handlers.__getitem__)
    one.run()
    assert taken == [signal.SIGINT, signal.SIGINT] and one.num_done == 3
    assert handlers == {signal.SIGTERM: None, signal.SIGINT: signal.default_int_handler}


def test_a_cell_that_fails_costs_its_attempts_and_no_other(tmp_path: Path) -> None:
    executor = Pretender({"tiny/mcmc/seed1": [1, 1, 1], "tiny/mcmc/seed2": [-9]})
    one = runner(tmp_path, executor, retries=2)
    one.run()
    assert [failure.cell.seed for failure in one.failures] == [1]
    assert [handle.job.name[-1] for handle in executor.handles] == list("111223")
    assert counts_text(one) == "2 done, 1 failed, 0 running, 0 waiting; about 0 s left"
    cells = [planned.cell for planned in one.plan.cells]
    assert [state(one, cell).status for cell in cells] == ["failed", "done", "done"]
    assert [a.error for a in state(one, cells[1]).attempts] == ["ended by SIGKILL", None]
    assert [a.exit_code for a in state(one, cells[0]).attempts] == [1, 1, 1]
    again = runner(tmp_path, Pretender({}))
    assert [planned.action for planned in again.plan.cells] == ["anew", "done", "done"]
    again.run()
    assert not again.failures


@pytest.mark.parametrize("code", [2, 3])
def test_what_would_fail_again_is_not_tried_again(code: int, tmp_path: Path) -> None:
    executor = Pretender({"tiny/mcmc/seed1": [code]})
    one = runner(tmp_path, executor, retries=5)
    one.run()
    assert len(executor.handles) == 3
    assert [failure.error for failure in one.failures] == [f"exit code {code}"]


def test_cells_share_a_gpu_and_say_so(tmp_path: Path) -> None:
    executor = Pretender({}, polls=5)
    one = runner(tmp_path, executor, slots=2)
    one.run()
    assert executor.most_at_a_time == 2
    attempts = [state(one, planned.cell).attempts[0] for planned in one.plan.cells]
    assert [attempt.together for attempt in attempts] == [2, 2, 1]


def test_an_attempt_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    executor = Pretender({}, polls=LONG)
    one = runner(tmp_path, executor, slots=3, timeout=0.05, retries=0)
    one.run()
    assert sorted(executor.cancelled) == [f"tiny/mcmc/seed{seed}" for seed in (1, 2, 3)]
    assert {failure.error for failure in one.failures} == {"took longer than 0 s"}


def test_jobs_of_a_cluster_outlive_gs_bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = Pretender({}, outlives=True, polls=LONG)
    one = runner(tmp_path, executor, slots=2)

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(bench_run.time, "sleep", interrupt)
        with pytest.raises(KeyboardInterrupt):
            one.run()
    assert not executor.cancelled and len(executor.handles) == 2
    again = runner(tmp_path, executor, slots=2)
    assert [planned.action for planned in again.plan.cells] == ["follow", "follow", "anew"]
    for handle in executor.handles:
        handle.polls = 5
    executor.polls = 1
    again.run()
    assert len(executor.handles) == 3 and again.num_done == 3
    assert state(again, again.plan.cells[0].cell).attempts[0].exit_code == 0


def test_what_is_moved_away_is_never_written_over(tmp_path: Path) -> None:
    one = runner(tmp_path, Pretender({}))
    cell = one.plan.cells[0].cell
    places = set()
    for text in "ab":  # within one second
        one.folder.run(cell).mkdir(parents=True)
        (one.folder.run(cell) / "config.yml").write_text(text)
        places.add(one.folder.supersede(cell))
    assert sorted((place / "config.yml").read_text() for place in places if place) == ["a", "b"]
    assert one.folder.supersede(cell) is None
