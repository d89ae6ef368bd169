"""Runs of several GPUs, here processes on the CPU, that hold all Gaussians and share the views."""

from pathlib import Path

import pytest
import torch
from several_processes import run_together

from gs_densify.results import load_results, read_metrics

# The gradient of a turned sphere is rounding alone, and Adam makes a whole step of it.
TINY = "--scene tiny --downscale 2 --evaluation.lpips --device cpu --seed 1 --lr.quats 0".split()
STEPS = "--steps 24 --schedule-factor 0.0024 --log-every 12 --evaluation.steps 12".split()
TWO, ONE = ("--gpus", "2"), ("--gpus", "1", "--batch-size", "2")


def model_of(run: Path, step: int) -> dict[str, torch.Tensor]:
    """The Gaussians of a checkpoint, with the moments of their optimisers."""
    contents = torch.load(run / f"checkpoints/step_{step:06d}.pt", weights_only=True)
    moments = {
        f"{key} of {name}": one["state"][0][key]
        for name, one in contents["optimizers"].items()
        for key in ("exp_avg", "exp_avg_sq")
        if one["state"]
    }
    return {**contents["splats"], **moments}


def trained(*arguments: object, cwd: Path, processes: int = 1) -> None:
    done = run_together(processes, "gs-train", *TINY, *arguments, cwd=cwd)
    assert [one.returncode for one in done] == [0] * processes, [one.stderr for one in done]
    assert all(one.stdout + one.stderr == "" for one in done[1:])


@pytest.mark.parametrize("strategy", ["default", "mcmc", "adaptive"])
def test_two_processes_equal_one_with_two_views(tmp_path, strategy):
    """Across refinements, which draw, and to the last step."""
    options = (*STEPS, "--strategy", strategy)
    trained(*options, "--out", "two", cwd=tmp_path, processes=2)
    trained(*options, "--batch-size", "2", "--out", "one", cwd=tmp_path)
    one, two = (load_results(tmp_path / name / "results.json") for name in ("one", "two"))
    assert two.counts == one.counts
    assert one.counts.final != one.counts.initial
    assert two.scores["psnr"] == pytest.approx(one.scores["psnr"], abs=1e-3)
    rows = (read_metrics(tmp_path / name / "metrics.jsonl") for name in ("one", "two"))
    for mine, theirs in zip(*rows, strict=True):
        assert mine.loss == pytest.approx(theirs.loss, abs=1e-5)
    for step in (12, 24):
        mine, theirs = (model_of(tmp_path / name, step) for name in ("one", "two"))
        for name, values in mine.items():
            error = (values - theirs[name]).abs().flatten()
            assert error.quantile(0.99) < 1e-5, (step, name)
