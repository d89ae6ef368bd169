"""How a study that runs is shown: a live table on a terminal, lines elsewhere, or nothing."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gs_densify.bench.run import Runner, Running, View
from gs_densify.messages import duration

_REFRESH_SECONDS = 0.5
_LINE_SECONDS = 60.0
_COLUMNS = ("cell", "on", "step", "steps/s", "PSNR", "Gaussians", "left")


class Quiet:
    """Shows nothing."""

    def said(self, text: str) -> None:
        """Shows nothing."""

    def update(self, runner: Runner) -> None:
        """Shows nothing."""


class Lines:
    """A line whenever something begins or ends, and one a minute, on stderr."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def said(self, text: str) -> None:
        """Prints the line."""
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)

    def update(self, runner: Runner) -> None:
        """Prints the counts, once a minute."""
        if time.monotonic() - self._last >= _LINE_SECONDS:
            self._last = time.monotonic()
            self.said(counts_text(runner))


class LiveTable:
    """A table of the cells that run, above it the lines of what has begun and ended."""

    def __init__(self, live: Any) -> None:
        self._live, self._last = live, 0.0

    def said(self, text: str) -> None:
        """Prints a line above the table."""
        self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def update(self, runner: Runner) -> None:
        """Draws the table, twice a second."""
        if time.monotonic() - self._last >= _REFRESH_SECONDS:
            self._last = time.monotonic()
            self._live.update(_table(runner), refresh=True)


@contextmanager
def view_for(*, quiet: bool) -> Iterator[View]:
    """Yields the view that suits stderr."""
    if quiet or not sys.stderr.isatty():
        yield Quiet() if quiet else Lines()
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:
        yield LiveTable(live)


def _table(runner: Runner) -> Any:
    from rich.table import Table

    table = Table(caption=counts_text(runner), caption_justify="left", box=None)
    for i, name in enumerate(_COLUMNS):
        table.add_column(name, justify="left" if i < 2 else "right", no_wrap=i > 0)
    for running in runner.running:
        table.add_row(*row_of(runner, running))
    return table


def row_of(runner: Runner, running: Running) -> tuple[str, ...]:
    """Returns the cells of a line of the table."""
    progress, seconds = runner.progress_of(running), runner.seconds_left_of(running)
    left = "" if seconds is None else duration(seconds)
    name, steps = running.cell.name, runner.plan.steps_of(running.cell)
    if progress is None:
        return (name, running.slot.place, f"0/{steps:,}", "", "", "", left)
    pace = progress.step_milliseconds
    return (
        name,
        running.slot.place,
        f"{progress.step:,}/{steps:,}",
        f"{1e3 / pace:.1f}" if pace else "",
        "" if progress.psnr is None else f"{progress.psnr:.2f}",
        f"{progress.num_gaussians:,}",
        left,
    )


def counts_text(runner: Runner) -> str:
    """Returns how many cells are where, and the time that is left."""
    text = f"{runner.num_done} done, {len(runner.failures)} failed,"
    text += f" {len(runner.running)} running, {len(runner.waiting)} waiting"
    seconds = runner.seconds_left()
    return text if seconds is None else f"{text}; about {duration(seconds)} left"
