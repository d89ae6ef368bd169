"""Runs of several GPUs, here processes on the CPU, that hold all Gaussians and share the views."""

import os
import shlex
import signal
import subprocess
import sys

import pytest
import torch
from commands import refusal, run, start
from several_processes import run_together
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from gs_densify.cli.arguments import parse_train_arguments
from gs_densify.cli.follow import follow
from gs_densify.config.layers import trainer_defaults
from gs_densify.errors import ConfigError
from gs_densify.results import load_results
from gs_densify.strategies.base import Strategy

TINY = "--scene tiny --downscale 2 --evaluation.lpips --device cpu --seed 1".split()
STEPS = [
    *"--steps 22 --log-every 11 --checkpoint-every 11".split(),
    *("--evaluation.pictures", "0"),
]

ENDING = """
import os, signal
from dataclasses import dataclass
from gs_densify.strategies.base import Strategy

@dataclass
class Ending(Strategy):
    rank: str = "1"
    number: int = 9

    def step_post_backward(self, params, optimizers, state, step, info, packed=False):
        if step == 13 and os.environ.get("RANK") == self.rank:
            os.kill(os.getpid(), self.number)
            if not self.number:
                raise KeyError("gone")
"""

ORPHAN = """
import os, signal, time
from dataclasses import dataclass
from gs_densify.strategies.base import Strategy

@dataclass
class Orphan(Strategy):
    def step_post_backward(self, params, optimizers, state, step, info, packed=False):
        if step == 5:
            os.kill(os.getppid(), signal.SIGUSR1)
        time.sleep(0.02)
"""
FAILING = """
import os
from dataclasses import dataclass
from gs_densify.strategies.base import Strategy
from gs_densify.training.trainer import Trainer

@dataclass
class Failing(Strategy):
    pass

def failing(trainer):
    raise FAULT

if os.environ.get("RANK") == "1":
    Trainer.follow = failing
"""
ENDED = "process 2 of 2 has ended: "
needs_two = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")


@pytest.mark.gpu
@needs_two
@pytest.mark.parametrize("parallel", ["views", "gaussians"])
@pytest.mark.parametrize(
    ("rank", "number", "said"),
    [(0, 0, "'gone'"), (1, 0, "'gone'"), (1, signal.SIGKILL, f"{ENDED}by signal 9")],
)
def test_a_process_that_fails_on_a_gpu_ends_all(tmp_path, rank, number, said, parallel):
    """Though the other one waits for it, on its GPU or its host."""
    (tmp_path / "ending.py").write_text(ENDING + "    shardable = True\n")
    ending = f"--strategy ending.py --strategy.rank {rank} --strategy.number {number}".split()
    options = ["--scene", "tiny", "--evaluation.lpips", *STEPS, *ending, "--parallel", parallel]
    done = start("gs-train", *options, "--gpus", "2", "--quiet", "--out", "run", cwd=tmp_path)
    assert done.returncode == (2 if rank else 3), done.stderr
    assert said in done.stderr.splitlines()[-1]


@pytest.mark.gpu
@needs_two
def test_two_gpus_train_as_one_does(tmp_path):
    options = "--scene tiny --strategy adaptive --steps 400 --evaluation.lpips --batch-size 2"
    found = []
    for gpus in (1, 2):
        out = tmp_path / str(gpus)
        done = start("gs-train", *options.split(), "--gpus", gpus, "--out", out, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        found.append(load_results(out / "results.json"))
    one, two = found
    assert two.scores["psnr"] == pytest.approx(one.scores["psnr"], abs=0.5)
    assert two.counts.final == pytest.approx(one.counts.final, rel=0.1)


def test_a_process_that_dies_ends_all_with_one_message(tmp_path):
    (tmp_path / "ending.py").write_text(ENDING)
    options = (*TINY, *STEPS, "--strategy", "ending.py", "--out", "run")
    done = run("gs-train", *options, "--gpus", "2", "--quiet", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    said = "process 2 of 2 has ended: by signal 9; go on with gs-train --resume run"
    assert done.stderr == f"gs-train: {said}\n"
    done = run("gs-train", "--resume", "run", "--gpus", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert load_results(tmp_path / "run/results.json").resumed_at == [11]


@pytest.mark.parametrize(
    ("fault", "option", "said", "is_traced"),
    [
        ("MemoryError()", (), "memory ran out, after step 0 with 640 Gaussians; use --max-", False),
        ("KeyError('gone')", ("--debug",), "by KeyError: 'gone'; there is no", True),
    ],
)
def test_what_ends_another_process_is_said(tmp_path, fault, option, said, is_traced):
    (tmp_path / "failing.py").write_text(FAILING.replace("FAULT", fault))
    options = [*TINY, "--steps", "20", "--downscale", "4", "--strategy", "failing.py", *option]
    done = run("gs-train", *options, "--gpus", "2", "--quiet", cwd=tmp_path)
    last = done.stderr.splitlines()[-1]
    assert (done.returncode, last.partition(said)[0]) == (2, f"gs-train: {ENDED}"), done.stderr
    assert ("in failing" in done.stderr) is is_traced


@pytest.mark.parametrize("rank", [0, 1])
def test_all_pause_at_one_step_when_one_is_told(tmp_path, rank):
    """SIGUSR1 is what a cluster sends before a job's time is over."""
    (tmp_path / "ending.py").write_text(ENDING)
    ending = f"--strategy ending.py --strategy.rank {rank} --strategy.number 10".split()
    options = (*TINY, *STEPS, "--batch-size", "2")
    first, second = run_together(2, "gs-train", *options, *ending, "--out", "run", cwd=tmp_path)
    assert (first.returncode, second.returncode) == (75, 0), first.stderr + second.stderr
    assert "told to end, and saved after step 14" in first.stderr
    if rank == 1:
        return
    done = run_together(2, "gs-train", "--resume", "run", cwd=tmp_path)
    assert [one.returncode for one in done] == [0, 0], done[0].stderr
    assert load_results(tmp_path / "run/results.json").resumed_at == [14]
    for words, told in (("--gpus 3", "give --gpus 2 or fewer"), ("--parallel foo", "known: views")):
        refused = run("gs-train", "--resume", "run", "--gpus", "2", *words.split(), cwd=tmp_path)
        assert (refused.returncode, told in refused.stderr) == (2, True), refused.stderr


def test_a_run_is_saved_and_ends_when_torchrun_is_gone(tmp_path):
    """SIGUSR1 ends torchrun, here a shell, and leaves what that has started."""
    (tmp_path / "orphan.py").write_text(ORPHAN)
    words = [sys.executable, "-m", "gs_densify.cli.train", *TINY, "--steps", "400", "--out", "run"]
    script = f"{shlex.join([*words, '--strategy', 'orphan.py', '--quiet'])} & wait"
    environment = {**os.environ, "TORCHELASTIC_RUN_ID": "any"}
    shell = ["sh", "-c", script]
    done = subprocess.run(shell, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    assert done.returncode == -signal.SIGUSR1
    assert "run: told to end, and saved after step" in done.stderr
    assert list((tmp_path / "run/checkpoints").iterdir())


@pytest.mark.parametrize("words", [("--steps", "0"), ("--init.source", "no.ply")])
def test_a_mistake_is_said_once_and_in_torchruns_report(tmp_path, words):
    first, second = run_together(2, "gs-train", *TINY, *words, "--out", "run", cwd=tmp_path)
    line = refusal(first)
    assert (second.returncode, second.stdout, second.stderr) == (2, "", "")
    files = [tmp_path / f"error_{rank}.json" for rank in range(2)]
    failures = {rank: ProcessFailure(rank, 1, 2, str(file)) for rank, file in enumerate(files)}
    shown = ChildFailedError("gs-train", failures).format_msg()
    told = line.removeprefix("gs-train: ")
    assert shown.count(told) == 2 and "To enable traceback" not in shown
    assert f"  traceback : {line}\n" in shown.partition("Root Cause")[2]


def test_a_mistake_that_is_seen_late_is_said_once_with_several_gpus(tmp_path):
    late = ("--data.host-budget", "0", "--data.disk-budget", "1e-5")
    options = (*TINY, *late, "--gpus", "2", "--out", "run")
    done = run("gs-train", *options, cwd=tmp_path)
    assert "raise --data.disk-budget" in refusal(done)
    assert not done.stdout and not (tmp_path / "run").exists()


def test_a_process_that_follows_has_nothing_to_forecast(monkeypatch):
    monkeypatch.setattr("gs_densify.distributed.group.joined", lambda _: pytest.fail("it trains"))
    follow([*TINY, "--dry-run"])


def test_so_many_gpus_must_be_there(tmp_path):
    done = run("gs-train", "--scene", "tiny", "--gpus", "9", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("gs-train: --gpus is 9, and torch sees ")
    assert not list(tmp_path.iterdir())


def parsed(*words: str) -> tuple[int, int, int]:
    config = parse_train_arguments(["--scene", "garden", *words])
    return config.gpus, config.batch_size, config.steps


def test_so_many_photos_are_seen_as_on_one_gpu(tmp_path):
    assert parsed() == (1, 1, 30_000)
    assert parsed("--gpus", "4") == (4, 4, 7_500)
    assert parsed("--gpus", "2", "--preset", "fast") == (2, 2, 4_500)
    assert parsed("--gpus", "2", "--batch-size", "4", "--steps", "9k") == (2, 4, 9_000)
    file = tmp_path / "saved.yml"
    file.write_text("gpus: 2\nbatch_size: 2\nsteps: 15000\n")
    assert parsed("--config", str(file)) == (2, 2, 15_000)


def test_a_recipe_has_as_many_views_for_each():
    def of(gpus: int, **recipe: float) -> tuple[int, int, float | None]:
        config = trainer_defaults(
            "garden",
            Strategy,
            recipe={"schedule_factor": 0.5, **recipe},
            protocol="default",
            gpus=gpus,
        )
        return config.batch_size, config.length, config.schedule_factor

    assert of(2) == (2, 15_000, 0.25)
    assert of(2, batch_size=3) == (6, 15_000, 0.25)
    assert of(2, batch_size=8) == (8, 30_000, 0.5)  # a step has nine views at most


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--gpus 2 --batch-size 1", "give --batch-size 2"),
        ("--parallel gaussians", "has no effect on one GPU"),
        ("--gpus 2 --render.packed", "does not go with several GPUs"),
        ("--gpus 10", "between 1 and 9"),
        ("--gpus 2 --protocol mls-bench", "trains on one"),
    ],
)
def test_what_has_no_effect_is_refused(words, said):
    with pytest.raises(ConfigError, match=said):
        parsed(*words.split())
