"""Where cells are run, by name."""

from collections.abc import Callable, Mapping
from pathlib import Path

from gs_densify.bench.executors.base import Executor
from gs_densify.bench.executors.local import LocalExecutor
from gs_densify.bench.executors.submitit_jobs import SubmititExecutor
from gs_densify.bench.options import SlurmOptions

EXECUTORS: Mapping[str, Callable[[Path, SlurmOptions], Executor]] = {
    "local": lambda folder, options: LocalExecutor(),
    "slurm": lambda folder, options: SubmititExecutor("slurm", folder, options),
    "submitit-local": lambda folder, options: SubmititExecutor("local", folder, options),
    "debug": lambda folder, options: SubmititExecutor("debug", folder, options),
}
"""Each takes the folder for its own files, and what jobs ask for."""
