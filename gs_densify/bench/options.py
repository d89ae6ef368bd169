"""How the cells of a study are run, whatever the study is. Standard library only."""

import dataclasses
from typing import Literal

from gs_densify.errors import ConfigError

ExecutorName = Literal["local", "slurm", "submitit-local", "debug"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SlurmOptions:
    """What a job of --executor slurm asks for."""

    partition: str | None = None
    """Partition (default: the cluster's)."""
    time: int = 240
    """Minutes of a job; a cell that takes longer saves a checkpoint and is queued again."""
    gpus: int = 1
    """GPUs of a job, as many as the `gpus` of its cell."""
    cpus: int = 8
    """CPU cores of a job."""
    mem: float | None = None
    """Host memory of a job in GB (default: the cluster's)."""
    account: str | None = None
    """Account that is charged."""
    qos: str | None = None
    """Quality of service."""
    constraint: str | None = None
    """Features that a node must have, as sbatch's --constraint."""
    signal_delay: int = 90
    """Seconds before the end of its time at which a job is told to save a checkpoint."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where cells run, how many at a time, and what is shown and kept of them."""

    dry_run: bool = False
    """Print the plan, and do nothing."""
    forecast: bool = True
    """Leave out the timing of some steps before the study: the plan then knows only times of cells
    that are done."""
    keep_checkpoints: bool = False
    """Keep the checkpoints of cells that are done (0.7 GB for a million Gaussians)."""
    quiet: bool = False
    """Print the end only."""
    gpus: tuple[str, ...] | None = None
    """GPUs to use, by number, or all (default: all)."""
    per_gpu: int = 1
    """Cells at a time on one GPU; their times are then not comparable."""
    jobs: int | None = None
    """Cells at a time (default: 1 without a GPU, all in the queue of a cluster)."""
    executor: ExecutorName = "local"
    """Where cells run: local processes; jobs of a Slurm cluster (pip install 'gs-densify[slurm]');
    submitit-local and debug try the latter on this machine."""
    slurm: SlurmOptions = dataclasses.field(default_factory=SlurmOptions)

    def __post_init__(self) -> None:
        for name, value in (("per-gpu", self.per_gpu), ("jobs", self.jobs)):
            if value is not None and value < 1:
                raise ConfigError(f"is {value}", expected="it must be at least 1", option=name)
        if self.executor != "slurm" and self.slurm != SlurmOptions():
            raise ConfigError(
                "has no effect without --executor slurm",
                action="leave it out",
                option=f"slurm.{self._first_slurm_option()}",
            )
        if self.executor == "slurm":
            for name, is_given in (("gpus", self.gpus is not None), ("per-gpu", self.per_gpu > 1)):
                if is_given:
                    raise ConfigError(
                        "is about this machine's GPUs, not about those of a cluster",
                        action="leave it out; --slurm.gpus are those of a job",
                        option=name,
                    )
        if self.executor == "debug" and (self.per_gpu > 1 or (self.jobs or 1) > 1):
            raise ConfigError(
                "debug runs one cell at a time",
                action="leave out --per-gpu and --jobs",
                option="executor",
            )

    def _first_slurm_option(self) -> str:
        return next(
            field.name.replace("_", "-")
            for field in dataclasses.fields(SlurmOptions)
            if getattr(self.slurm, field.name) != field.default
        )
