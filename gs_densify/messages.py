"""What commands tell people on stderr beside errors: remarks, and how far a long job is.

Imports no torch.
"""

import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar

_Item = TypeVar("_Item")

SECONDS = 60.0
"""Between lines where there is no terminal."""

_quiet = [False]


@contextmanager
def quiet(wanted: bool = True) -> Iterator[None]:
    """Keeps remarks, progress and warnings back inside, in all threads, where that is wanted."""
    if not wanted:
        yield
        return
    logger, before = logging.getLogger("gs_densify"), is_quiet()
    level = logger.level
    _quiet[0] = True
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        _quiet[0] = before
        logger.setLevel(level)


def is_quiet() -> bool:
    """Returns whether only errors are to be seen."""
    return _quiet[0]


def remark(text: str) -> None:
    """Prints a line on stderr, but not inside `quiet`."""
    if not is_quiet():
        print(text, file=sys.stderr)


class Progress:
    """Shows how far a job is: a bar on a terminal, else a line a minute, from a minute on.

    Neither inside `quiet`. As a context manager it leaves the bar's line at the end.
    """

    def __init__(
        self,
        job: str,
        total: int,
        *,
        unit: str,
        initial: int = 0,
        shown: bool = True,
        leave: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Takes a `job` of `total` times `unit`, of which `initial` are done.

        With `shown` false nothing is; without `leave` the bar goes when the job is done. `clock`
        gives seconds.
        """
        from tqdm import tqdm  # late: --help and a wrong option show no bar

        self._job, self._total, self._unit, self._clock = job, total, unit, clock
        shown = shown and not is_quiet()
        is_terminal = sys.stderr.isatty()
        self._says_lines = shown and not is_terminal
        self._said_at, self._said = clock(), initial
        self.bar = tqdm(
            total=total,
            initial=initial,
            desc=job,
            unit=unit,
            leave=leave,
            disable=not (shown and is_terminal),
            dynamic_ncols=True,
        )

    def note(self, done: int, details: str = "") -> None:
        """Prints a line where there is no bar and a minute has passed since the last one.

        It says the rate in this minute, and how long the rest takes at that; `details` follow.
        """
        now = self._clock()
        seconds, count = now - self._said_at, done - self._said
        if not self._says_lines or seconds < SECONDS or not 0 < count < self._total:
            return
        self._said_at, self._said = now, done
        rate, left = count / seconds, self._total - done
        share = f"{100 * done / self._total:.0f} %"
        parts = [
            f"{self._job}: {self._unit} {done:,} of {self._total:,} ({share})",
            f"{_rate(rate)} {self._unit}s/s",
            f"{duration(left / rate)} left",
            *[details] * bool(details),
        ]
        print(", ".join(parts), file=sys.stderr)

    def __enter__(self) -> "Progress":
        """Returns self."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends the bar."""
        self.bar.close()


def tracked(
    items: Iterable[_Item],
    job: str,
    total: int,
    *,
    unit: str,
    shown: bool = True,
    leave: bool = True,
) -> Iterator[_Item]:
    """Yields the items of a job, with its `Progress`; each is done when the next is asked for."""
    with Progress(job, total, unit=unit, shown=shown, leave=leave) as progress:
        for done, item in enumerate(items, start=1):
            yield item
            progress.bar.update()
            progress.note(done)


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def duration(seconds: float) -> str:
    """Returns a time in words, in the unit that suits it."""
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / 3600:.1f} h"
