"""When progress is shown."""

import sys


def shows_progress() -> bool:
    """Bars are for people: only where standard error is a terminal."""
    return sys.stderr.isatty()
