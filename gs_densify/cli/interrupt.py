"""Ctrl-C while a command is still being imported: one line and its code, as later."""

import os
import sys
from pathlib import Path
from types import TracebackType

CODE = 130


def say_interrupted(program: str) -> None:
    """Prints the line on stderr."""
    print(f"{program}: interrupted", file=sys.stderr, flush=True)


def show_no_traceback() -> None:
    """Has an interrupt that nobody catches end the process in one line; other errors are shown as
    before.
    """
    before = sys.excepthook

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            before(kind, error, trace)
            return
        say_interrupted(_program())
        os._exit(CODE)  # Python itself would end with a signal

    sys.excepthook = show


def _program() -> str:
    """Returns the name of the command, also where it was begun as a module."""
    name = Path(sys.argv[0]).stem
    return name if name.startswith("gs-") else f"gs-{name}" if name != "-m" else "gs_densify"
