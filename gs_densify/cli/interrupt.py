"""Ctrl-C amid an import: it ends the process in one line and with its code, as at other times."""

import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

CODE = 130

_IMPORTS = "<frozen importlib._bootstrap>"


def say_interrupted(program: str) -> None:
    """Prints the line on stderr."""
    print(f"{program}: interrupted", file=sys.stderr, flush=True)


def listen() -> None:
    """Has Ctrl-C end the process at once where something is being imported, else as Python does.

    Modules amid their import take KeyboardInterrupt for something else, and fail in other ways.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def leave() -> None:
    """Has Ctrl-C end the process as the system does, which a shell shows as 130, too.

    The command is done: a KeyboardInterrupt would only cut off what Python does at its own end, and
    be printed.
    """
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _end(number: int, frame: FrameType | None) -> None:
    current = frame
    while current is not None:
        if current.f_code.co_filename == _IMPORTS:
            say_interrupted(_program())
            os._exit(CODE)
        current = current.f_back
    signal.default_int_handler(number, frame)


def _program() -> str:
    """Returns the name of the command, also where it was begun as a module."""
    name = Path(sys.argv[0]).stem
    return name if name.startswith("gs-") else f"gs-{name}" if name != "-m" else "gs_densify"
