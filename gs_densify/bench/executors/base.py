"""What a study asks of an executor, and the command of a cell."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from gs_densify.results.names import RESULTS
from gs_densify.runs.checkpoint_files import checkpoints


@dataclasses.dataclass(frozen=True)
class Job:
    """One attempt at a cell."""

    name: str
    arguments: tuple[str, ...]
    """Of gs-train, without --out."""
    run: Path
    """Folder of the run."""
    log: Path
    """File for what the process prints."""
    environment: Mapping[str, str]
    """Variables on top of those of this process."""
    timeout: float | None
    """Seconds."""

    @property
    def command(self) -> list[str]:
        """Returns the command: it goes on with the run where that has a checkpoint."""
        train = [sys.executable, "-m", "gs_densify.cli.train"]
        if checkpoints(self.run) and not (self.run / RESULTS).exists():
            return [*train, "--resume", str(self.run)]
        return [*train, *self.arguments, "--out", str(self.run)]


class Executor(Protocol):
    """Runs cells somewhere. A handle is whatever it knows a started one by."""

    outlives: bool
    """Whether what it started goes on when gs-bench ends."""

    def start(self, job: Job) -> Any:
        """Starts a cell and returns its handle."""

    def poll(self, handle: Any) -> int | None:
        """Returns the exit code, negative for a signal; None while it runs."""

    def cancel(self, handle: Any) -> None:
        """Asks for the end, after a checkpoint where that is possible; returns at once."""

    def kill(self, handle: Any) -> None:
        """Ends it at once."""

    def job_of(self, handle: Any) -> str | None:
        """Returns the number by which `attach` finds it again; None where nothing can."""

    def attach(self, number: str) -> Any | None:
        """Returns the handle of what an earlier gs-bench started and what still runs, or None."""


def start_tied(command: list[str], log: Any, environment: Mapping[str, str]) -> subprocess.Popen:
    """Starts a command that ends with this process, but not at Ctrl-C in its terminal."""
    tied = Path(__file__).with_name("tied.py")
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(tied), str(os.getpid()), *command],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env={**os.environ, **environment},
        start_new_session=True,
    )
