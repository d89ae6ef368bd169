"""Cells as jobs of submitit: on a Slurm cluster, or on this machine to try that out."""

import math
import signal
import subprocess
import threading
import time
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from gs_densify.bench.executors.base import Job, start_tied
from gs_densify.bench.options import SlurmOptions
from gs_densify.errors import ConfigError

Cluster = Literal["slurm", "local", "debug"]
_POLL_SECONDS = 0.1
_SECONDS_TO_SAVE = 60
_MOST_REQUEUES = 1000
"""By timeouts; submitit's 3 would end a long cell on a queue of short jobs."""


class CellTask:
    """The callable that submitit runs on a node; it takes part in its protocol of checkpoints."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._process: subprocess.Popen | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Returns what another process needs."""
        return {"job": self.job, "_process": None}

    def __call__(self) -> int:
        """Runs the cell, or goes on with it, and returns the exit code of gs-train."""
        job = self.job
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with job.log.open("ab") as log:  # a job that is queued again goes on in it
            self._process = start_tied(job.command, log, job.environment)
        # In a thread: submitit calls `checkpoint` amid whatever this one does, and a process that
        # is being waited for cannot be waited for there, too.
        threading.Thread(target=self._process.wait, daemon=True).start()
        code = self._code_within(job.timeout)
        return self._end() if code is None else code

    def checkpoint(self) -> Any:
        """Lets gs-train save its state before the job is taken away, and returns the task that goes
        on with it.
        """
        import submitit

        self._end()
        return submitit.helpers.DelayedSubmission(CellTask(self.job))

    def _code_within(self, seconds: float | None) -> int | None:
        """Returns the exit code of the process; None where it still runs after that time."""
        assert self._process is not None
        until = math.inf if seconds is None else time.monotonic() + seconds
        while self._process.returncode is None and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)
        return self._process.returncode

    def _end(self) -> int:
        """Ends the process, which may save a checkpoint, and returns its exit code."""
        if self._process is None:
            return -signal.SIGTERM
        self._process.terminate()
        if self._code_within(_SECONDS_TO_SAVE) is None:
            self._process.kill()
        code = self._code_within(_SECONDS_TO_SAVE)
        return -signal.SIGKILL if code is None else code


class SubmititExecutor:
    """One job a cell."""

    def __init__(self, cluster: Cluster, folder: Path, options: SlurmOptions) -> None:
        try:
            import submitit
        except ImportError:
            raise ConfigError(
                "needs submitit, which is not installed",
                action="pip install 'gs-densify[slurm]'",
                option="executor",
            ) from None
        if cluster == "slurm" and submitit.SlurmExecutor.affinity() < 0:
            raise ConfigError(
                "slurm: there is no sbatch on this machine",
                action="call gs-bench on a login node of the cluster",
                option="executor",
            )
        self.cluster, self.folder, self.options = cluster, folder, options
        self.outlives = cluster == "slurm"
        self._submitit = submitit

    @cached_property
    def _executor(self) -> Any:
        """Makes submitit's own, and with it the folder of its files: not for a dry run."""
        limits = {"slurm_max_num_timeout": _MOST_REQUEUES} if self.cluster == "slurm" else {}
        made = self._submitit.AutoExecutor(folder=self.folder, cluster=self.cluster, **limits)
        if self.cluster != "debug":
            made.update_parameters(**self._parameters())
        return made

    def _parameters(self) -> dict[str, Any]:
        options = self.options
        if self.cluster == "local":
            return {"timeout_min": options.time}
        found = {
            "name": "gs-bench",
            "timeout_min": options.time,
            "gpus_per_node": options.gpus,
            "cpus_per_task": options.cpus,
            "mem_gb": options.mem,
            "slurm_partition": options.partition,
            "slurm_account": options.account,
            "slurm_qos": options.qos,
            "slurm_constraint": options.constraint,
            "slurm_signal_delay_s": options.signal_delay,
        }
        return {name: value for name, value in found.items() if value is not None}

    def start(self, job: Job) -> Any:
        """Submits the cell."""
        return self._executor.submit(CellTask(job))

    def poll(self, handle: Any) -> int | None:
        """Returns the exit code of gs-train, or 1 where the job itself failed; None while it is
        queued or runs.
        """
        if not handle.done():
            return None
        try:
            return int(handle.result())
        except (
            self._submitit.core.utils.UncompletedJobError,
            self._submitit.core.utils.FailedJobError,
            OSError,
        ):
            return 1

    def cancel(self, handle: Any) -> None:
        """Cancels the job; a checkpoint is saved where the cluster gives it the time."""
        handle.cancel()

    def kill(self, handle: Any) -> None:
        """Cancels the job."""
        handle.cancel(check=False)

    def job_of(self, handle: Any) -> str | None:
        """Returns the number of a job of the cluster."""
        return str(handle.job_id) if self.outlives else None

    def attach(self, number: str) -> Any | None:
        """Returns the job of that number."""
        return self._submitit.SlurmJob(self.folder, number) if self.outlives else None
