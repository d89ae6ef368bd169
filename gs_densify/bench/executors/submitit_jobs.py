"""Cells as jobs of submitit: on a Slurm cluster, or on this machine to try that out."""

import signal
import subprocess
from pathlib import Path
from typing import Any, Literal

from gs_densify.bench.executors.base import Job, start_tied
from gs_densify.bench.options import SlurmOptions
from gs_densify.errors import ConfigError

Cluster = Literal["slurm", "local", "debug"]
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
        try:
            return self._process.wait(job.timeout)
        except subprocess.TimeoutExpired:
            return self._end()

    def checkpoint(self) -> Any:
        """Lets gs-train save its state before the job is taken away, and returns the task that goes
        on with it.
        """
        import submitit

        self._end()
        return submitit.helpers.DelayedSubmission(CellTask(self.job))

    def _end(self) -> int:
        process = self._process
        if process is None:
            return -signal.SIGTERM
        process.terminate()
        try:
            return process.wait(_SECONDS_TO_SAVE)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


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
        self.cluster, self.folder = cluster, folder
        self.outlives = cluster == "slurm"
        self._submitit = submitit
        limits = {"slurm_max_num_timeout": _MOST_REQUEUES} if cluster == "slurm" else {}
        self._executor = submitit.AutoExecutor(folder=folder, cluster=cluster, **limits)
        if cluster != "debug":
            self._executor.update_parameters(**self._parameters(options))

    def _parameters(self, options: SlurmOptions) -> dict[str, Any]:
        if self.cluster == "local":
            return {"timeout_min": options.time}  # the default: it ends no cell of a test
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
        except (self._submitit.core.utils.UncompletedJobError, OSError, RuntimeError):
            return 1
        except self._submitit.core.utils.FailedJobError:
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
