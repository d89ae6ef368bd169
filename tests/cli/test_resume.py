"""gs-train --resume: a run that was cut off ends as if it had never been."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import refusal, run

STOPPING = """
import os
import signal
from dataclasses import dataclass

from gs_densify.strategies.adaptive import AdaptiveStrategy


@dataclass
class StoppingStrategy(AdaptiveStrategy):
    \"\"\"Ours, in a process that ends after step 34 where STOP says how.\"\"\"

    def step_post_backward(self, params, optimizers, state, step, info, packed=False):
        super().step_post_backward(params, optimizers, state, step, info, packed)
        if step == 34 and "STOP" in os.environ:
            os.kill(os.getpid(), getattr(signal, os.environ["STOP"]))
"""
FLAGS = "--steps 60 --schedule-factor 0.002 --log-every 10 --evaluation.lpips --device cpu".split()
STOPS = "--evaluation.steps 20 --checkpoint-every 15".split()


def train(tiny: Path, folder: Path, name: str, **environment: str) -> Any:
    """A run in `folder` / `name`, of a strategy whose file is gone afterwards."""
    strategy = folder / "stopping.py"
    strategy.write_text(STOPPING)
    arguments = ["--scene", tiny, "--strategy", strategy, "--out", name, *FLAGS, *STOPS]
    done = run("gs-train", *arguments, cwd=folder, **environment)
    strategy.unlink()
    return done


def figures(folder: Path) -> tuple[Any, ...]:
    """What of a run does not depend on the clock."""
    results = json.loads((folder / "results.json").read_text())
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return (
        results["scores"],
        results["counts"],
        [(one["step"], one["scores"]) for one in results["evaluations"]],
        [(one["step"], one["loss"], one["num_gaussians"], one["psnr"]) for one in rows],
        json.loads((folder / "per_view.json").read_text())["views"],
        (folder / "point_cloud.ply").read_bytes(),
    )


def steps_of(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


@pytest.fixture(scope="module")
def whole(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    done = train(tiny, folder, "run")
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.mark.parametrize(("signal", "code"), [("SIGKILL", -9), ("SIGINT", 130)])
def test_a_run_that_was_stopped_ends_like_one_that_was_not(
    signal: str, code: int, whole: Path, tiny: Path, tmp_path: Path
) -> None:
    done = train(tiny, tmp_path, "run", STOP=signal)
    assert done.returncode == code, done.stderr
    assert ("to go on: gs-train --resume run" in done.stderr) == (signal == "SIGINT")
    assert steps_of(tmp_path / "run") == ["step_000020.pt", "step_000030.pt"]
    done = run("gs-train", "--resume", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "goes on after step 30" in done.stderr
    assert figures(tmp_path / "run") == figures(whole)
    assert steps_of(tmp_path / "run") == steps_of(whole) == ["step_000020.pt", "step_000060.pt"]
    stored = json.loads((tmp_path / "run" / "results.json").read_text())
    assert stored["resumed_at"] == [30]
    assert stored["command"][:2] == ["gs-train", "--scene"]
    assert stored["strategy"]["name"] == str(tmp_path / "stopping.py")
    times = stored["wall_time"]
    assert times["total"] > times["train"] + times["evaluate"] > 0 < times["first_step"]


def test_a_checkpoint_that_was_to_be_scored_is_scored_first(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    for name in ("results.json", "per_view.json", "point_cloud.ply"):
        (folder / name).unlink()
    (folder / "checkpoints" / "step_000060.pt").unlink()
    for step in (20, 60):
        done = run("gs-train", "--resume", "run", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert f"goes on after step {step}" in done.stderr
        assert figures(folder) == figures(whole)
        (folder / "results.json").unlink()


def test_what_cannot_be_resumed_is_refused_and_left_as_it_is(whole: Path, tmp_path: Path) -> None:
    def refused(*arguments: object) -> str:
        return refusal(run("gs-train", *arguments, cwd=tmp_path))

    assert "--resume: a value is missing" in refused("--resume")
    assert "no config.yml; name the folder" in refused("--resume", "nothing")
    assert f"--resume {whole}: this run is complete" in refused("--resume", whole)
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    (folder / "results.json").unlink()
    assert "leave out --seed" in refused("--resume", "run", "--seed", "3")
    assert "leave out --dry-run" in refused("--resume", "run", "--dry-run")
    last = folder / "checkpoints" / "step_000060.pt"
    contents = torch.load(last, weights_only=True)
    state = contents.pop("run")
    torch.save(contents, last)
    assert "whose runs cannot be resumed" in refused("--resume", "run")
    torch.save({**contents, "run": {**state, "evaluations": 3}}, last)
    assert "run: evaluations: 3 is not a list" in refused("--resume", "run")
    last.write_bytes(last.read_bytes()[:1000])
    before = (folder / "metrics.jsonl").read_bytes()
    assert "step_000060.pt: damaged" in refused("--resume", "run")
    shutil.rmtree(folder / "checkpoints")
    assert "a run that has saved one?" in refused("--resume", "run")
    assert (folder / "metrics.jsonl").read_bytes() == before
    assert "--checkpoint-every is 61; it must be between 1 and 60" in refused(
        "--scene", "tiny", *FLAGS, "--checkpoint-every", 61
    )
