"""Where the time of a command goes."""

import time


class Stopwatch:
    """Divides the time since `started` into named parts, which add up to all of it."""

    def __init__(self, started: float | None = None) -> None:
        """Takes `started` of `time.perf_counter`; None: now."""
        self.started = time.perf_counter() if started is None else started
        self._mark = self.started
        self.parts: dict[str, float] = {}
        """Seconds by name, in the order in which the names were first used."""

    def lap(self, part: str, until: float | None = None) -> None:
        """Gives the time since the lap before to `part`, up to `until` (None: now)."""
        now = time.perf_counter() if until is None else until
        self.parts[part] = self.parts.get(part, 0.0) + now - self._mark
        self._mark = now

    @property
    def seconds(self) -> float:
        """Returns the seconds from the start to the last lap."""
        return self._mark - self.started
