"""What a call of gs-bench will do, before it does anything."""

import dataclasses
import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from gs_densify.bench.estimate import Estimate, row_key
from gs_densify.bench.executors.base import Executor
from gs_densify.bench.fingerprint import Fingerprint, fingerprint
from gs_densify.bench.folder import StudyFolder
from gs_densify.bench.matrix import Cell, Row
from gs_densify.bench.state import CellState, load_state
from gs_densify.errors import ConfigError
from gs_densify.messages import duration
from gs_densify.runs.forecast import scene_key
from gs_densify.runs.forecast_memory import memory_of, num_gaussians
from gs_densify.runs.loaded_scene import find_scene
from gs_densify.runs.settled import settled
from gs_densify.runs.start import Start, start_of
from gs_densify.scene.scene import Scene

Action = Literal["done", "resume", "anew", "follow"]
"""anew: trains from the first step; follow: a job of a cluster that an earlier call submitted."""

NOT_RETRIED = (2, 3)
"""Exit codes of gs-train for what would be the same a second time: see cli/app.py."""


@dataclasses.dataclass
class PlannedCell:
    """A cell, and what becomes of it."""

    cell: Cell
    action: Action
    fingerprint: Fingerprint
    state: CellState | None
    """Of an earlier call."""
    reason: str = ""
    """Why something that lies there is not used."""


@dataclasses.dataclass(frozen=True)
class PlannedRow:
    """A line of the plan."""

    row: Row
    steps: int
    first: int
    last: int | None
    """Gaussians at the start, and the most; None without a limit."""
    memory: int
    """Bytes on the GPU."""


@dataclasses.dataclass
class Plan:
    """All cells and rows of a study."""

    cells: list[PlannedCell]
    rows: list[PlannedRow]
    estimates: dict[tuple[str, str], Estimate]

    @property
    def open(self) -> list[PlannedCell]:
        """Returns the cells that are still to be run."""
        return [one for one in self.cells if one.action != "done"]

    def seconds_of(self, cell: Cell) -> float | None:
        """Returns the expected time of a cell."""
        found = self.estimates.get(row_key(cell))
        return found.seconds if found else None

    def steps_of(self, cell: Cell) -> int:
        """Returns the steps of a cell."""
        return next(planned.steps for planned in self.rows if planned.row == cell.row)

    def wall_seconds(self, slots: int) -> float | None:
        """Returns the expected time of all that is open; None where that of a cell is not known."""
        return spread_over([self.seconds_of(one.cell) for one in self.open], slots)


def spread_over(seconds: Iterable[float | None], slots: int) -> float | None:
    """Returns the time of cells that begin in this order, each where room is first."""
    ends = [0.0] * max(1, slots)
    for one in seconds:
        if one is None:
            return None
        heapq.heappush(ends, heapq.heappop(ends) + one)
    return max(ends)


def make_plan(cells: Sequence[Cell], folder: StudyFolder, executor: Executor) -> Plan:
    """Returns the plan without times; the executor knows what jobs are still there."""
    planned = [plan_cell(cell, folder, executor) for cell in cells]
    by_row = {(cell.row.scene.label, cell.row.folder): cell for cell in reversed(cells)}
    rows = _rows(list(reversed(by_row.values())))
    return Plan(planned, rows, {})


def plan_cell(cell: Cell, folder: StudyFolder, executor: Executor) -> PlannedCell:
    """Returns what becomes of a cell; see `make_plan`."""
    now, state = fingerprint(cell), load_state(folder, cell)
    if not folder.run(cell).exists():
        is_followed = state is not None and state.fingerprint == now and follows(executor, state)
        return PlannedCell(cell, "follow" if is_followed else "anew", now, state)
    if state is None:
        return PlannedCell(cell, "anew", now, None, "nothing says how it was made")
    changed = now.difference(state.fingerprint)
    if changed:
        return PlannedCell(cell, "anew", now, state, changed)
    if folder.is_done(cell):
        return PlannedCell(cell, "done", now, state)
    if follows(executor, state):
        return PlannedCell(cell, "follow", now, state)
    if not folder.can_resume(cell):
        return PlannedCell(cell, "anew", now, state, "it has no checkpoint")
    last = state.attempts[-1] if state.attempts else None
    if last is not None and last.resumed and last.exit_code in NOT_RETRIED:
        return PlannedCell(cell, "anew", now, state, "it could not be resumed")
    return PlannedCell(cell, "resume", now, state)


def attached(executor: Executor, state: CellState) -> Any | None:
    """Returns the job that an earlier call submitted for a cell and whose end it did not see."""
    last = state.attempts[-1] if state.attempts else None
    if last is None or last.job is None or last.exit_code is not None:
        return None
    return executor.attach(last.job)


def follows(executor: Executor, state: CellState) -> bool:
    """Returns whether a job that an earlier call submitted is still there."""
    handle = attached(executor, state)
    return handle is not None and executor.poll(handle) is None


def _rows(cells: Sequence[Cell]) -> list[PlannedRow]:
    """Returns the rows of these cells, one each; scenes are looked at once, without pixels.

    Raises:
        ConfigError: a strategy or memory limit cannot be carried out on its scene; with the place.
    """
    rows, scenes = [], {}
    for cell in cells:
        config = cell.config
        key = scene_key(config)
        if key not in scenes:
            scene = find_scene(config)
            scenes[key] = scene, start_of(config, scene)
        try:
            rows.append(_row(cell, *scenes[key]))
        except ConfigError as error:
            raise ConfigError(f"{cell.row.place}: {error}") from None
    return rows


def _row(cell: Cell, scene: Scene, start: Start) -> PlannedRow:
    """Returns the row of a cell, as it keeps to its memory limit."""
    masked = any(view.mask is not None for view in scene.train_views)
    found = settled(cell.config, scene, start, has_masks=masked)
    config = found.config
    first, last = num_gaussians(config, found.strategy, start)
    memory = memory_of(config, scene, last or first, has_masks=masked)
    return PlannedRow(cell.row, config.length, first, last, memory.total)


_COLUMNS = ("scene", "method", "seeds", "steps", "Gaussians", "GPU memory", "a cell", "done")


def plan_text(plan: Plan, slots: int, where: str) -> str:
    """Returns the table of rows, the totals, and why finished cells are run again.

    Args:
        plan: the plan.
        slots: cells at a time.
        where: the slots in words.
    """
    lines = _table([_COLUMNS, *(_line(plan, row) for row in plan.rows)])
    for one in plan.cells:
        if one.reason:
            lines.append(f"{one.cell.name}: runs again: {one.reason}")
    num = Counter(one.action for one in plan.cells)
    total = f"{counted(len(plan.cells))}: {num['done']} done, {num['resume']} to resume,"
    total += f" {num['anew']} to do"
    total += f", {num['follow']} in the queue" if num["follow"] else ""
    if plan.open:
        seconds = plan.wall_seconds(slots)
        expected = "not known" if seconds is None else f"about {duration(seconds)}"
        total += f"; time {expected} on {where}"
    return "\n".join([*lines, total])


def memory_remarks(plan: Plan, smallest: float) -> list[str]:
    """Returns a line for each row that is expected not to fit on the smallest GPU."""
    return [
        f"{one.row.scene.label} {one.row.label}: is expected to need {one.memory / 1e9:.1f} GB of"
        f" {smallest / 1e9:.1f} GB on the GPU; use memory_limit, a budget, a larger"
        " downscale, or a smaller data.image_budget"
        for one in plan.rows
        if one.memory > smallest
    ]


def counted(cells: int) -> str:
    """Returns a number of cells in words."""
    return "1 cell" if cells == 1 else f"{cells} cells"


def _line(plan: Plan, planned: PlannedRow) -> tuple[str, ...]:
    row = planned.row
    cells = [one for one in plan.cells if one.cell.row == row]
    seconds = plan.seconds_of(cells[0].cell)
    return (
        row.scene.label,
        row.label,
        " ".join(map(str, row.seeds)),
        f"{planned.steps:,}",
        f"{planned.last:,}" if planned.last else f"{planned.first:,} at first",
        f"{planned.memory / 1e9:.2f} GB",
        "not known" if seconds is None else duration(seconds),
        f"{sum(one.action == 'done' for one in cells)}/{len(cells)}",
    )


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            text.ljust(width) if i < 3 else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
