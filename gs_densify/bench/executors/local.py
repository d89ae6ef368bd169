"""Cells as processes of this machine."""

import subprocess

from gs_densify.bench.executors.base import Job, start_tied


class LocalExecutor:
    """A process each; what a killed gs-bench leaves is asked to save a checkpoint and end."""

    outlives = False

    def start(self, job: Job) -> subprocess.Popen:
        """Starts the cell's process."""
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with job.log.open("xb") as log:
            return start_tied(job.command, log, job.environment)

    def poll(self, handle: subprocess.Popen) -> int | None:
        """Returns the exit code, or None while it runs."""
        return handle.poll()

    def cancel(self, handle: subprocess.Popen) -> None:
        """Asks it to save a checkpoint and to end."""
        handle.terminate()

    def kill(self, handle: subprocess.Popen) -> None:
        """Ends it."""
        handle.kill()

    def job_of(self, handle: subprocess.Popen) -> str | None:
        """Returns None: a process is not found again."""
        return None

    def attach(self, number: str) -> None:
        """Returns None: there is nothing to find."""
        return None
