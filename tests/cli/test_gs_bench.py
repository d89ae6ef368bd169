"""Studies of real runs: what is run again and what is not, and what a kill leaves."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import refusal, run

OPTIONS = {
    "steps": 20,
    "log_every": 5,
    "schedule_factor": 1,
    "device": "cpu",
    "evaluation": {"lpips": [], "pictures": 0},
}
PLAIN = """
from dataclasses import dataclass

from gs_densify.strategies.base import Strategy


@dataclass
class PlainStrategy(Strategy):
    \"\"\"Leaves the Gaussians as they are, or fails.\"\"\"

    fails: bool = False
    share: float = 0.5

    def step_post_backward(self, params, optimizers, state, step, info, packed=False):
        if self.fails:
            raise ValueError("as it was told to")
"""
KILLING = """
import os
import signal
import threading
from dataclasses import dataclass
from pathlib import Path

from gs_densify.strategies.base import Strategy


@dataclass
class KillingStrategy(Strategy):
    \"\"\"Sends a signal after step 11, once for each victim; then waits to be told to end.\"\"\"

    victim: str = "self"
    number: int = 9

    def step_post_backward(self, params, optimizers, state, step, info, packed=False):
        mark = Path(f"killed {self.victim} {self.number}")
        if step != 11 or mark.exists():
            return
        mark.touch()
        told, former = threading.Event(), signal.getsignal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, lambda *which: (former(*which), told.set()))
        os.kill(os.getpid() if self.victim == "self" else os.getppid(), self.number)
        told.wait(300)
"""


def bench(folder: Path, *arguments: object) -> subprocess.CompletedProcess:
    return run("gs-bench", *arguments, cwd=folder)


def write(folder: Path, methods: Any, **further: Any) -> Path:
    path = folder / "study.yml"
    study = {"scenes": ["tiny"], "methods": methods, "options": OPTIONS, **further}
    path.write_text(yaml.safe_dump(study, sort_keys=False))
    return path


def state(folder: Path, method: str) -> Any:
    return json.loads((folder / f"studies/study/cells/tiny/{method}/seed42.json").read_text())


def results(folder: Path, method: str) -> Any:
    path = folder / f"studies/study/cells/tiny/{method}/seed42/results.json"
    return json.loads(path.read_text())


def test_a_study_goes_on_where_it_was(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(PLAIN)
    broken = {"strategy": "plain.py", "options": {"strategy.fails": True}}
    write(tmp_path, {"plain.py": None, "broken": broken})
    done = bench(tmp_path, "study.yml", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "2 cells: 0 done, 0 to resume, 2 to do; time " in done.stdout
    assert "640 at first  " in done.stdout
    assert not (tmp_path / "studies").exists()

    done = bench(tmp_path, "study.yml", "--no-forecast", "--retries", 0)
    assert done.returncode == 1, done.stderr
    assert "1 of 2 cells done\nfiles: studies/study\n" in done.stdout
    log = "studies/study/logs/tiny/broken/seed42.1.log"
    assert done.stderr.splitlines()[-1].startswith("tiny/broken/seed42: failed: ")
    assert "as it was told to" in done.stderr.splitlines()[-1]
    assert log in done.stderr and "as it was told to" in (tmp_path / log).read_text()
    assert (state(tmp_path, "plain")["status"], state(tmp_path, "broken")["status"]) == (
        *("done", "failed"),
    )
    first = results(tmp_path, "plain")
    assert not (tmp_path / "studies/study/cells/tiny/plain/seed42/checkpoints").exists()

    broken["options"]["strategy.fails"] = False
    broken["options"]["strategy.share"] = 0.25
    write(tmp_path, {"plain.py": {"options": {"log_every": 4}}, "broken": broken})
    done = bench(tmp_path, "study.yml", "--no-forecast", "--keep-checkpoints")
    assert done.returncode == 0, done.stderr
    assert "tiny/plain/seed42: runs again: log_every 5 -> 4\n" in done.stdout
    assert "2 cells: 0 done, 0 to resume, 2 to do; time not known" in done.stdout
    kept = list((tmp_path / "studies/study/superseded").glob("*/tiny/plain/seed42/results.json"))
    assert first in [json.loads(path.read_text()) for path in kept]
    assert results(tmp_path, "plain") != first
    assert (tmp_path / "studies/study/cells/tiny/plain/seed42/checkpoints").exists()

    done = bench(tmp_path, "studies/study/study.yml", "--methods", "broken", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "1 of 1 cell done\nfiles: studies/study\n"
    record = json.loads((tmp_path / "studies/study/study.json").read_text())
    assert [one["command"].split()[1] for one in record["calls"]] == [
        *("study.yml", "study.yml", "studies/study/study.yml"),
    ]
    assert {one["label"]: one["is_asked_for"] for one in record["cells"]} == {
        **{"plain": False, "broken": True},
    }
    saved = yaml.safe_load((tmp_path / "studies/study/study.yml").read_text())
    assert saved["methods"]["broken"]["strategy"] == str(tmp_path / "plain.py")


def test_what_is_killed_costs_no_more_than_itself(tmp_path: Path) -> None:
    """A cell by SIGKILL, then gs-bench by Ctrl-C, and then by SIGKILL."""
    (tmp_path / "killing.py").write_text(KILLING)
    victims = {"cell": ("self", 9), "stopped": ("bench", 2), "shot": ("bench", 9)}
    methods = {
        label: {
            "strategy": "killing.py",
            "options": {
                **{"strategy.victim": victim, "strategy.number": number, "checkpoint_every": 4},
            },
        }
        for label, (victim, number) in victims.items()
    }
    write(tmp_path, methods)
    command = ("study.yml", "--no-forecast")
    done = bench(tmp_path, *command)
    assert done.returncode == 130, done.stderr
    assert "to go on: gs-bench study.yml --no-forecast\n" in done.stderr
    attempts = state(tmp_path, "cell")["attempts"]
    assert [(one["exit_code"], one["resumed"]) for one in attempts] == [(-9, False), (0, True)]
    assert attempts[0]["error"]
    assert results(tmp_path, "cell")["resumed_at"] == [8]
    assert state(tmp_path, "stopped")["status"] == "interrupted"
    assert state(tmp_path, "stopped")["attempts"][0]["exit_code"] == 75

    done = bench(tmp_path, *command)
    assert done.returncode == -9, done.stderr
    assert "3 cells: 1 done, 1 to resume, 1 to do" in done.stdout
    assert results(tmp_path, "stopped")["resumed_at"] == [12]
    assert state(tmp_path, "shot")["status"] == "running"

    done = bench(tmp_path, *command)
    assert done.returncode == 0, done.stderr
    assert "3 of 3 cells done" in done.stdout
    # The process that was left behind saved a checkpoint and ended.
    assert results(tmp_path, "shot")["resumed_at"] == [12]
    assert "tiny/cell/seed42" not in done.stderr


@pytest.mark.parametrize("executor", ["debug", "submitit-local"])
def test_cells_are_jobs_of_submitit(executor: str, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    (tmp_path / "plain.py").write_text(PLAIN)
    write(
        tmp_path,
        {"plain.py": None, "fails": {"strategy": "plain.py", "options": {"strategy.fails": True}}},
    )
    jobs = ["--jobs", 2] if executor == "submitit-local" else []
    done = bench(
        tmp_path, "study.yml", "--no-forecast", "--retries", 0, "--executor", executor, *jobs
    )
    assert done.returncode == 1, done.stderr
    assert "1 of 2 cells done" in done.stdout
    assert state(tmp_path, "plain")["attempts"][0]["executor"] == executor
    assert results(tmp_path, "plain")["steps"] == 20
    together = results(tmp_path, "plain")["hardware"]["runs_at_a_time"]
    assert together == (2 if executor == "submitit-local" else 1)
    assert state(tmp_path, "fails")["attempts"][0]["exit_code"] == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--out is missing; name a folder for the study"),
        (["missing.yml"], "missing.yml: there is no such file"),
        (
            ["--scenes", "tiny", "--methods", "mcmc", "--out", "."],
            "holds other files, and no study",
        ),
        (["study.yml", "--gpus", "7"], "--gpus has 7; GPUs here:"),
        (["study.yml", "--slurm.time", "5"], "--slurm.time has no effect without --executor slurm"),
        (["study.yml", "--options", "steps"], "--options has 'steps'; KEY=VALUE"),
        (["study.yml", "--options", "magic=1"], "--options: --magic: no such option"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    write(tmp_path, ["mcmc"])
    assert said in refusal(bench(tmp_path, *arguments))
    assert [path.name for path in tmp_path.iterdir()] == ["study.yml"]


def test_one_gs_bench_at_a_time_works_in_a_folder(tmp_path: Path) -> None:
    from gs_densify.bench.folder import StudyFolder

    write(tmp_path, ["mcmc"])
    with StudyFolder(tmp_path / "studies/study").locked():
        assert "another gs-bench works in this folder" in refusal(bench(tmp_path, "study.yml"))
