"""Processes that begin with everything imported: forks of one server, for any call or command.

Importing torch takes longer than most of what tests ask of a command. A fork has its own memory,
arguments, environment, folder, output and exit code; what it shares with the others is what Python
does at its start: its hash seed, its encoding, and which modules are loaded.
"""

import importlib
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

MODULES = {
    "gs-train": "gs_densify.cli.train",
    "gs-eval": "gs_densify.cli.eval",
    "gs-scene": "gs_densify.cli.scene",
    "gs-report": "gs_densify.cli.report",
    "gs-strategies": "gs_densify.cli.strategies",
    "gs-view": "gs_densify.cli.view",
    "gs-bench": "gs_densify.cli.bench",
}
PATIENCE = 300.0
"""Seconds after which a process counts as hanging."""

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        *("__main__", "encodings.utf_8_sig", "html", "colorsys", "matplotlib.figure", "tyro"),
        *MODULES.values(),
        *("gs_densify.bench.conduct", "gs_densify.capture", "gs_densify.check.battery"),
        *("gs_densify.cli.summary", "gs_densify.report", "gs_densify.runs.evaluate"),
        *("gs_densify.runs.forecast", "gs_densify.runs.train"),
    ]
)


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
    """A process that was begun in `folder`; what it calls can be pickled."""

    def __init__(
        self,
        call: Callable[[], object],
        folder: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._streams = tempfile.TemporaryDirectory()
        self._files = [Path(self._streams.name) / name for name in ("out", "err", "begun")]
        environment = dict(os.environ if environment is None else environment)
        arguments = (call, str(folder), environment, *map(str, self._files))
        self._process = _FORKS.Process(target=_be, args=arguments)
        self._process.start()
        while not self._files[-1].exists() and self._process.is_alive():
            time.sleep(0.001)

    @property
    def first_line(self) -> str:
        """What it has printed first, once that is a line or it has ended."""
        while "\n" not in (said := self._files[0].read_text()) and self._process.is_alive():
            time.sleep(0.01)
        return said.partition("\n")[0]

    def kill(self, number: int) -> None:
        if self._process.is_alive():
            os.kill(self._process.pid, number)

    def wait(self, patience: float = PATIENCE) -> Ended:
        self._process.join(patience)
        code = self._process.exitcode
        if code is None:
            self._process.kill()
            self._process.join()
        with self._streams:
            return Ended(code, *(file.read_text(errors="replace") for file in self._files[:2]))


def command(name: str, arguments: Sequence[object]) -> Callable[[], object]:
    """What runs a command as its script does."""
    return partial(_run, name, [*map(str, arguments)])


def run(name: str, *arguments: object, folder: Path) -> Ended:
    return Forked(command(name, arguments), folder).wait()


def _run(name: str, arguments: list[str]) -> None:
    sys.argv = [name, *arguments]
    importlib.import_module(MODULES[name]).main()


def _be(
    call: Callable[[], object],
    folder: str,
    environment: dict[str, str],
    out: str,
    err: str,
    begun: str,
) -> None:
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, path in ((1, out), (2, err)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644), number)
        if (paths := environment.get("PYTHONPATH")) != os.environ.get("PYTHONPATH"):
            _import_anew(paths or "")
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        Path(begun).touch()
        call()
    except KeyboardInterrupt:  # before the command has begun
        sys.exit(130)


def _import_anew(paths: str) -> None:
    """Forget the package, which looks for other packages' extensions while it is imported."""
    sys.path[:0] = paths.split(os.pathsep)
    for name in [name for name in sys.modules if name.split(".")[0] == "gs_densify"]:
        del sys.modules[name]
