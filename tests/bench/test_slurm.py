"""What a cluster is asked for, by a stand-in for its sbatch."""

import os
from pathlib import Path

import pytest

from gs_densify.bench.executors.base import Job
from gs_densify.bench.executors.submitit_jobs import SubmititExecutor
from gs_densify.bench.options import RunOptions, SlurmOptions
from gs_densify.errors import ConfigError

SBATCH = """#!/bin/sh
cp "$1" "$0.script"
echo "Submitted batch job 4711"
"""
SACCT = """#!/bin/sh
echo "JobID|State|NodeList"
echo "4711|$(cat "$0.state")|node1"
"""


def test_a_job_asks_for_what_the_options_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitit = pytest.importorskip("submitit")
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SBATCH), ("sacct", SACCT)):
        (bin_folder / name).write_text(text)
        (bin_folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    (bin_folder / "sacct.state").write_text("PENDING")
    options = SlurmOptions(partition="gpu", time=90, mem=32, account="lab", signal_delay=120)
    executor = SubmititExecutor("slurm", tmp_path / "jobs", options)
    assert not (tmp_path / "jobs").exists()
    job = Job("cell", (), tmp_path / "run", tmp_path / "log", {}, None)
    handle = executor.start(job)
    script = (bin_folder / "sbatch.script").read_text()
    for line in (
        *("--partition=gpu", "--time=90", "--mem=32GB", "--account=lab", "--gpus-per-node=1"),
        *("--cpus-per-task=8", "--signal=USR2@120"),
    ):
        assert f"#SBATCH {line}\n" in script
    number = executor.job_of(handle)
    assert number == "4711"
    again = executor.attach(number)
    assert executor.poll(handle) is None and executor.poll(again) is None
    monkeypatch.setattr(submitit.SlurmJob, "_results_timeout_s", 0)
    (bin_folder / "sacct.state").write_text("FAILED")
    submitit.SlurmJob.watcher.clear()
    assert executor.poll(executor.attach(number)) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"executor": "slurm", "gpus": ("0",)}, "--gpus is about this machine's GPUs"),
        ({"executor": "slurm", "per_gpu": 2}, "--per-gpu is about this machine's GPUs"),
        ({"executor": "debug", "jobs": 2}, "--executor debug runs one cell at a time"),
        ({"slurm": SlurmOptions(signal_delay=5)}, "--slurm.signal-delay has no effect"),
        ({"jobs": 0}, "--jobs is 0; it must be at least 1"),
    ],
)
def test_options_without_an_effect_are_refused(options: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        RunOptions(**options)


def test_a_cluster_needs_its_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="there is no sbatch on this machine"):
        SubmititExecutor("slurm", tmp_path, SlurmOptions())
