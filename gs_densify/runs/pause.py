"""Being told to end, by Ctrl-C, a cluster or `kill`, as a wish that is looked at when it suits."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

BY_OTHERS = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""What comes from `kill`, from a terminal that is closed, and from clusters before a job's time is
over; SIGUSR2 is submitit's choice."""


class PauseWish:
    """Whether the process was told to end."""

    def __init__(self) -> None:
        self.signal: int | None = None
        """The last signal that said so."""

    def __call__(self) -> bool:
        """Returns whether it was."""
        return self.signal is not None

    @contextmanager
    def listening(self, *numbers: signal.Signals) -> Iterator[None]:
        """Takes signals as wishes inside the block, but for those that the process ignores.

        Those whose handler Python does not know, and so could not put back, keep it. A second
        Ctrl-C is an interrupt. Only the main thread can listen.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before: dict[signal.Signals, Any] = {
            number: signal.signal(number, self._note)
            for number in numbers
            if signal.getsignal(number) not in (signal.SIG_IGN, None)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: Any) -> None:
        self.signal = number
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
