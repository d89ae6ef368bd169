"""Runs of processes that share the Gaussians end as that of one process with as many views a step,
and leave the files that one leaves.
"""

import shutil
from pathlib import Path

import pytest
import torch
from commands import run
from several_processes import run_together

from gs_densify.results import load_results, read_metrics

TINY = "--scene tiny --downscale 2 --evaluation.lpips --device cpu --batch-size 2 --seed 1".split()
SHARED = ("--parallel", "gaussians")
# All that grow are cloned: a split draws, and draws differ where the Gaussians lie elsewhere.
CLONES = [
    *"--strategy default --strategy.grow-scale3d 1e9 --strategy.grow-grad2d 2e-5".split(),
    *"--steps 22 --schedule-factor 0.005 --log-every 11 --evaluation.steps 11".split(),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """The folder of a run of one process, `one`, and one of two, `two`."""
    folder = tmp_path_factory.mktemp("shared")
    first, second = run_together(2, "gs-train", *TINY, *CLONES, *SHARED, "--out", "two", cwd=folder)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert (second.stdout, second.stderr) == ("", "")
    alone = run("gs-train", *TINY, *CLONES, "--out", "one", cwd=folder)
    assert alone.returncode == 0, alone.stderr
    return folder


def model_of(run: Path, step: int) -> dict[str, torch.Tensor]:
    """The Gaussians of a checkpoint with their first moments, in an order of their own."""
    contents = torch.load(run / f"checkpoints/step_{step:06d}.pt", weights_only=True)
    order = contents["splats"]["means"][:, 0].argsort(stable=True)
    moments = {
        f"moments of {name}": one["state"][0]["exp_avg"][order]
        for name, one in contents["optimizers"].items()
        if one["state"]
    }
    return {name: rows[order] for name, rows in contents["splats"].items()} | moments


def test_two_processes_equal_one_with_two_views(runs):
    one, two = (load_results(runs / name / "results.json") for name in ("one", "two"))
    assert two.counts == one.counts
    assert one.counts.final > 1.5 * one.counts.initial
    assert two.scores["psnr"] == pytest.approx(one.scores["psnr"], abs=1e-2)
    rows = [read_metrics(runs / name / "metrics.jsonl") for name in ("one", "two")]
    for mine, theirs in zip(*rows, strict=True):
        assert mine.loss == pytest.approx(theirs.loss, abs=1e-5)
        assert mine.num_gaussians == theirs.num_gaussians
    mine, theirs = (model_of(runs / name, 11) for name in ("one", "two"))
    assert mine.keys() == theirs.keys()
    for name, values in mine.items():
        error = (values - theirs[name]).abs().flatten().double()
        print(name, [f"{float(error.quantile(q)):.1e}" for q in (0.5, 0.9, 1)])
        # Adam moves by a whole rate where a gradient is but rounding, as of a turned sphere.
        assert error.quantile(0.9) < 1e-5, name


def test_one_process_scores_the_same(runs):
    scored = run("gs-eval", runs / "two", cwd=runs)
    assert "equal to the stored scores to the last digit" in scored.stdout + scored.stderr
    shutil.rmtree(runs / "two/evaluations")


def test_the_files_are_those_of_one_process(runs):
    def files(run: str) -> list[str]:
        return sorted(str(path.relative_to(runs / run)) for path in (runs / run).rglob("*"))

    assert files("two") == files("one")


@pytest.mark.parametrize(("begun", "processes"), [("two", 1), ("one", 2)])
def test_another_number_of_processes_goes_on(runs, begun, processes):
    resumed = runs / f"{begun} then {processes}"
    shutil.copytree(runs / begun, resumed)
    (resumed / "results.json").unlink()
    (resumed / "checkpoints/step_000022.pt").unlink()
    shared = SHARED if processes > 1 else ("--gpus", "1")
    done = run_together(processes, "gs-train", "--resume", resumed, *shared, cwd=runs)
    assert [one.returncode for one in done] == [0] * processes, done[0].stderr
    then, now = load_results(runs / begun / "results.json"), load_results(resumed / "results.json")
    assert now.counts == then.counts
    assert now.resumed_at == [11]
    assert now.scores["psnr"] == pytest.approx(then.scores["psnr"], abs=1e-2)


@pytest.mark.parametrize("strategy", ["adaptive", "mcmc"])
def test_a_budget_is_that_of_all(tmp_path, strategy):
    options = "--steps 22 --schedule-factor 0.0015 --log-every 22 --budget 701".split()
    done = run_together(
        2,
        "gs-train",
        *(*TINY, *options, *SHARED, "--strategy", strategy, "--out", "run"),
        cwd=tmp_path,
    )
    assert [one.returncode for one in done] == [0, 0], done[0].stderr + done[1].stderr
    assert load_results(tmp_path / "run/results.json").counts.final == 701


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            "--strategy taming --batch-size 2",
            "needs all Gaussians in one process, and 2 share them",
        ),
        ("--batch-size 1", "give --batch-size 2"),
        ("--batch-size 2 --max-gaussians 1", "2 processes share the Gaussians"),
    ],
)
def test_what_does_not_go_with_it_is_refused_in_one_line(tmp_path, options, said):
    first, second = run_together(
        2,
        "gs-train",
        *("--scene", "tiny", "--device", "cpu", *options.split(), *SHARED),
        cwd=tmp_path,
    )
    assert (first.returncode, second.returncode) == (2, 2)
    assert said in first.stderr
    assert first.stderr.count("\n") == 1
    assert second.stderr == ""
    # For torchrun's report, and no folder of a run.
    assert sorted(one.name for one in tmp_path.iterdir()) == ["error_0.json", "error_1.json"]


def test_a_dry_run_refuses_what_the_run_would(tmp_path):
    shared = "--gpus 2 --parallel gaussians --strategy taming --dry-run".split()
    done = run("gs-train", "--scene", "tiny", "--device", "cpu", *shared, cwd=tmp_path)
    assert done.returncode == 2
    assert "needs all Gaussians in one process" in done.stderr
