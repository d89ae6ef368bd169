"""Being told to end, by a cluster or `kill`, as a wish that is looked at when it suits."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SIGNALS = (signal.SIGTERM, signal.SIGUSR2)
"""SIGUSR2 is what submitit has a cluster send before a job's time is over."""


class PauseWish:
    """Whether the process was told to end."""

    def __init__(self) -> None:
        self._is_there = False

    def __call__(self) -> bool:
        """Returns whether it was."""
        return self._is_there

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Takes the signals as wishes inside the block; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before: list[Any] = [signal.signal(number, self._note) for number in _SIGNALS]
        try:
            yield
        finally:
            for number, handler in zip(_SIGNALS, before, strict=True):
                signal.signal(number, handler)

    def _note(self, number: int, frame: Any) -> None:
        self._is_there = True
