"""A call of gs-bench from a study to its exit code."""

import dataclasses
import math
import shlex
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from gs_densify.bench import estimate
from gs_densify.bench.executors import EXECUTORS
from gs_densify.bench.executors.base import Executor
from gs_densify.bench.folder import StudyFolder
from gs_densify.bench.matrix import Cell, Parser, cells_of
from gs_densify.bench.options import RunOptions
from gs_densify.bench.plan import Plan, counted, make_plan, memory_remarks, plan_text
from gs_densify.bench.record import save_record
from gs_densify.bench.run import Runner
from gs_densify.bench.slots import Gpu, Slot, chosen_gpus, cpu_slots, find_gpus, gpu_slots
from gs_densify.bench.study import Study
from gs_densify.bench.views import view_for
from gs_densify.config.options import TrainConfig
from gs_densify.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class _Places:
    """Where cells run."""

    slots: list[Slot]
    gpus: list[Gpu]
    per_cell: int = 1
    """GPUs that train together."""

    @property
    def smallest_memory(self) -> float:
        """Returns the bytes that a cell can have; infinity where that is not known."""
        each = max(1, len(self.slots) // max(1, len(self.gpus)))
        known = [gpu.memory / each for gpu in self.gpus if gpu.memory]
        return min(known, default=math.inf)

    @property
    def text(self) -> str:
        """Returns them in words."""
        if self.slots[0].place == "cluster":
            return f"a cluster, up to {len(self.slots)} jobs at a time"
        if not self.gpus:
            return f"the CPU, {len(self.slots)} at a time"
        each = len(self.slots) // len(self.gpus)
        names = ", ".join(sorted({gpu.name for gpu in self.gpus}))
        shared = f", {each} cells at a time on each: their times are not comparable"
        number = f"{len(self.gpus)} GPUs" if len(self.gpus) > 1 else "1 GPU"
        together = f", {self.per_cell} for a cell" if self.per_cell > 1 else ""
        return f"{number} ({names})" + (shared if each > 1 else together)


def conduct(
    study: Study, out: Path, options: RunOptions, parse: Parser, command: Sequence[str]
) -> int:
    """Plans a study, and runs what is to be done of it.

    Args:
        study: what is asked for.
        out: the study's folder; what is in it of an earlier call stays or is gone on with.
        options: how it is run.
        parse: reads a command line of gs-train.
        command: the command line, for the study's record and for messages.

    Returns:
        0 where all cells are done, or with --dry-run; 1 where some have failed.

    Raises:
        ConfigError: something of the study, the folder or the machine does not fit.
        KeyboardInterrupt: at Ctrl-C or SIGTERM, once the cells that ran have ended.
    """
    cells = cells_of(study, parse)
    folder = StudyFolder(out)
    folder.check()
    executor = EXECUTORS[options.executor](out / "jobs", options.slurm)
    places = _places(cells, options)
    with nullcontext() if options.dry_run else folder.locked():
        plan = make_plan(cells, folder, executor)
        _estimate(plan, folder, options, places)
        if not options.quiet:
            print(plan_text(plan, len(places.slots), places.text), flush=True)
        for line in memory_remarks(plan, places.smallest_memory):
            print(f"gs-bench: {line}", file=sys.stderr)
        if options.dry_run:
            return 0
        save_record(
            *(folder, study, plan, command),
            executor=options.executor,
            gpus=places.gpus,
            at_a_time=len(places.slots),
        )
        with view_for(quiet=options.quiet) as view:
            runner = Runner(
                *(folder, plan, executor, places.slots, options, view),
                retries=study.retries,
                timeout=study.timeout,
            )
            try:
                runner.run()
            except KeyboardInterrupt:
                _say_how_to_go_on(runner, executor, command)
                raise
    return _sum_up(runner)


def _places(cells: Sequence[Cell], options: RunOptions) -> _Places:
    per_cell = max((cell.config.gpus for cell in cells if cell.config.device != "cpu"), default=1)
    if options.executor == "slurm":
        _check_gpus_of_jobs(per_cell, options)
        return _Places([Slot("cluster", {})] * (options.jobs or len(cells)), [])
    devices = {cell.config.device for cell in cells}
    present = [] if devices == {"cpu"} else find_gpus()
    gpus = chosen_gpus(options.gpus, present)
    if gpus and options.jobs is not None:
        raise ConfigError(
            "is for cells on the CPU", action="with GPUs use --per-gpu", option="jobs"
        )
    if gpus:
        gpus = gpus[:per_cell] if options.executor == "debug" else gpus
        return _Places(gpu_slots(gpus, options.per_gpu, per_cell), gpus, per_cell)
    if "cuda" in devices:
        raise ConfigError(
            "the study has device cuda, and there is no GPU here",
            action="write device: auto or cpu in it",
        )
    if options.per_gpu > 1:
        raise ConfigError("has no effect without a GPU", action="use --jobs", option="per-gpu")
    return _Places(cpu_slots(options.jobs or 1), [])


def _check_gpus_of_jobs(per_cell: int, options: RunOptions) -> None:
    if options.slurm.gpus < per_cell:
        raise ConfigError(
            f"is {options.slurm.gpus}, and a cell trains on {per_cell}",
            action=f"give --slurm.gpus {per_cell}",
            option="slurm.gpus",
        )


def _estimate(plan: Plan, folder: StudyFolder, options: RunOptions, places: _Places) -> None:
    """Fills in the expected times of the rows that have open cells."""
    done = [one.cell for one in plan.cells if one.action == "done"]
    plan.estimates |= estimate.from_finished(folder, done)
    wanted: dict[estimate.RowKey, TrainConfig] = {}
    for one in plan.open:
        key = estimate.row_key(one.cell)
        if key not in plan.estimates:
            wanted.setdefault(key, one.cell.config)
    if not wanted or not options.forecast or options.executor == "slurm":
        return
    found, refused = estimate.from_forecast(wanted, places.slots[0].environment)
    plan.estimates |= found
    if refused:
        print(f"gs-bench: no forecast of every time: {refused}", file=sys.stderr)


def _say_how_to_go_on(runner: Runner, executor: Executor, command: Sequence[str]) -> None:
    if executor.outlives and runner.running:
        print(
            f"{len(runner.running)} jobs stay in the cluster's queue; scancel ends them",
            file=sys.stderr,
        )
    print(f"to go on: {shlex.join(command)}", file=sys.stderr)


def _sum_up(runner: Runner) -> int:
    for failure in runner.failures:
        log = "" if failure.log is None else f" (log: {failure.log})"
        print(f"{failure.cell.name}: failed: {failure.error}{log}", file=sys.stderr)
    print(f"{runner.num_done} of {counted(len(runner.plan.cells))} done")
    print(f"files: {runner.folder.root}")
    return 1 if runner.failures else 0
