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
from typing import Protocol, TypeVar

_Item = TypeVar("_Item")

SECONDS = 30.0
"""Between lines where there is no terminal."""

DOUBT = logging.WARNING + 5
"""The level of warnings about data that make results other than they look: `quiet` lets them
through."""

_quiet = [False]


@contextmanager
def quiet(wanted: bool = True, *, doubts: bool = False) -> Iterator[None]:
    """Keeps remarks, progress and warnings back inside, in all threads, where that is wanted.

    Errors are shown, and `DOUBT`s about data unless `doubts` keeps these back, too.
    """
    if not wanted:
        yield
        return
    logger, before = logging.getLogger("gs_densify"), is_quiet()
    level = logger.level
    _quiet[0] = True
    logger.setLevel(DOUBT + doubts)
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


class Bar(Protocol):
    """What shows how far a job is, as tqdm's bars do."""

    n: float
    """How much is done."""

    def update(self, n: float | None = 1) -> object:
        """Hears that `n` more are done."""

    def set_postfix_str(self, s: str = "") -> None:
        """Takes what else is to be said of the job at present."""

    def close(self) -> None:
        """Ends the bar."""


class Progress:
    """Shows how far a job is: a bar on a terminal, else a line every half minute.

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
        self.bar: Bar
        if not shown or is_quiet():
            self.bar = NoBar()
            return
        if not sys.stderr.isatty():
            self.bar = _Lines(job, total, unit, initial, clock)
            return
        from tqdm import tqdm  # late: --help and a wrong option show no bar

        self.bar = tqdm(
            total=total,
            initial=initial,
            desc=job,
            unit=unit,
            leave=leave,
            dynamic_ncols=True,
            mininterval=0.5,
            miniters=1,
        )

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


class NoBar:
    """A bar that nobody sees."""

    n: float = 0

    def update(self, n: float | None = 1) -> None:
        """Has nothing to show."""

    def set_postfix_str(self, s: str = "") -> None:
        """Has nothing to show."""

    def close(self) -> None:
        """Has nothing to end."""


class _Lines:
    """A line where half a minute has passed since the last one, unless the job is done."""

    def __init__(
        self, job: str, total: int, unit: str, initial: int, clock: Callable[[], float]
    ) -> None:
        self.n: float = initial
        self._job, self._total, self._unit, self._clock = job, total, unit, clock
        self._said_at, self._details = clock(), ""
        self._said: float = initial

    def update(self, n: float | None = 1) -> None:
        """Says the rate since the last line, and how long the rest takes at that."""
        self.n += n or 0
        now = self._clock()
        seconds, count, left = now - self._said_at, self.n - self._said, self._total - self.n
        if seconds < SECONDS or count <= 0 or left <= 0:
            return
        self._said_at, self._said = now, self.n
        share = f"{100 * self.n / self._total:.0f} %"
        parts = [
            f"{self._job}: {self._unit} {self.n:,} of {self._total:,} ({share})",
            f"{_rate(count / seconds)} {self._unit}s/s",
            f"{duration(left * seconds / count)} left",
            *[self._details] * bool(self._details),
        ]
        print(", ".join(parts), file=sys.stderr)

    def set_postfix_str(self, s: str = "") -> None:
        """Takes what the lines to come end with."""
        self._details = s

    def close(self) -> None:
        """Has nothing to end."""


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
        for item in items:
            yield item
            progress.bar.update()


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def duration(seconds: float) -> str:
    """Returns a time in words, in the unit that suits it."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"
