"""Commands in processes that begin with everything imported: a hundred cases take what ten took."""

import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

MODULES = {
    "gs-train": "gs_densify.cli.train",
    "gs-eval": "gs_densify.cli.eval",
    "gs-scene": "gs_densify.cli.scene",
    "gs-report": "gs_densify.cli.report",
    "gs-strategies": "gs_densify.cli.strategies",
    "gs-view": "gs_densify.cli.view",
    "gs-bench": "gs_densify.cli.bench",
}
PATIENCE = 60.0
"""Seconds after which a process counts as hanging."""


@dataclass(frozen=True)
class Ended:
    """How a process ended: as of `subprocess`, a negative code is a signal; None: it hung."""

    code: int | None
    out: str
    err: str

    @property
    def said(self) -> str:
        return f"code {self.code}: {self.err}{self.out}"

    @property
    def is_in_words(self) -> bool:
        """Whether no traceback was shown, and the code is one of those that are promised."""
        return "Traceback (most" not in self.err and self.code in (0, 2, 3, 75, 130, 141)


class Forked:
    """A process that was begun; its output lies in files beside `folder`."""

    def __init__(self, call: Callable[[], object], folder: Path) -> None:
        self._files = [folder.with_name(f"{folder.name}.{name}") for name in ("out", "err")]
        for file in self._files:
            file.touch()  # it may be killed before it is there
        sys.stdout.flush()
        sys.stderr.flush()
        self.process = os.fork()
        if self.process == 0:
            _be(call, folder, self._files)

    def kill(self, number: int) -> None:
        os.kill(self.process, number)

    def wait(self, patience: float = PATIENCE) -> Ended:
        end = time.monotonic() + patience
        while True:
            process, status = os.waitpid(self.process, os.WNOHANG)
            if process:
                code = os.waitstatus_to_exitcode(status)
                break
            if time.monotonic() > end:
                os.kill(self.process, signal.SIGKILL)
                os.waitpid(self.process, 0)
                code = None
                break
            time.sleep(0.002)
        texts = [file.read_text(errors="replace") for file in self._files]
        for file in self._files:
            file.unlink()
        return Ended(code, *texts)


def command(name: str, arguments: Sequence[object]) -> Callable[[], object]:
    """What runs a command as its script does."""

    def call() -> None:
        sys.argv = [name, *map(str, arguments)]
        importlib.import_module(MODULES[name]).main()

    return call


def run(name: str, *arguments: object, folder: Path) -> Ended:
    return Forked(command(name, arguments), folder).wait()


def _be(call: Callable[[], object], folder: Path, files: Sequence[Path]) -> NoReturn:
    """Is the new process; it leaves nothing of the one that it comes from to happen at its end."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(folder)
        for number, file in enumerate(files, start=1):
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
        sys.stdin = open(os.devnull)
        sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)
        sys.stderr = sys.__stderr__ = open(2, "w", closefd=False, buffering=1)
        call()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except KeyboardInterrupt:  # before the command has begun
        code = 130
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)
