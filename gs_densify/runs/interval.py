"""Something that is to be done every so often."""

import math
import time
from collections.abc import Callable


class Interval:
    """Says when some time has passed since it was begun."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Takes the seconds of which `clock` gives the present one; 0: the time never comes."""
        self._seconds, self._clock = seconds or math.inf, clock
        self.begin()

    def begin(self) -> None:
        """Begins the time anew."""
        self._begun = self._clock()

    def is_over(self) -> bool:
        """Returns whether the time has passed."""
        return self._clock() - self._begun >= self._seconds
