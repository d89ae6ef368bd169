"""gs-train and gs-eval on the tiny scene: the files of a run and what they say."""

import gzip
import json
import os
import shutil
from collections import Counter
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from commands import SMOKE, run, start

from gs_densify.evaluation.strip import absolute_error, error_heat, read_strip
from gs_densify.model.files.ply import load_ply
from gs_densify.results import load_evaluation, load_per_view, load_results, read_metrics
from gs_densify.results.views import badness


def test_a_run_leaves_every_file_and_they_agree(finished_run: Path) -> None:
    results = load_results(finished_run / "results.json")
    per_view = load_per_view(finished_run / "per_view.json")
    rows = read_metrics(finished_run / "metrics.jsonl")
    names = [view.name for view in per_view.views]
    assert names == results.protocol.test_images
    assert len(names) == 4 and results.protocol.n_train == 28
    mean = sum(view.scores["psnr"] or 0 for view in per_view.views) / len(names)
    assert abs(mean - (results.scores["psnr"] or 0)) < 1e-9
    assert [row.step for row in rows] == [20, 40]
    assert [record.step for record in results.evaluations] == [20, 40]
    assert [row.psnr for row in rows] == [record.scores["psnr"] for record in results.evaluations]
    assert results.evaluations[-1].scores == results.scores
    assert rows[-1].num_gaussians == results.counts.final
    assert rows[-1].loss < rows[0].loss
    assert set(results.unavailable) == {"lpips_alex", "lpips_vgg", "lpips_vgg_01"}
    times = results.wall_time
    assert 0 < times.train < times.total
    assert times.load < (times.first_step or 0) < times.total - times.evaluate


def test_the_parts_of_the_wall_time_are_all_of_it(finished_run: Path) -> None:
    times = load_results(finished_run / "results.json").wall_time
    parts = times.parts
    before = ["start", "device", "load", "prepare", "first_step"]
    assert list(parts) == [*before, "train", "checkpoint", "evaluate", "files"]
    assert sum(parts.values()) == pytest.approx(times.total)
    assert sum(parts[name] for name in before) == pytest.approx(times.first_step)
    assert parts["first_step"] + parts["train"] >= times.train > 0
    assert parts["load"] >= times.load and parts["checkpoint"] > 0 and parts["files"] > 0
    assert parts["checkpoint"] + parts["evaluate"] == pytest.approx(times.evaluate)


def test_checkpoint_and_ply_hold_the_model_that_was_scored(finished_run: Path) -> None:
    results = load_results(finished_run / "results.json")
    checkpoint = torch.load(finished_run / "checkpoints/step_000040.pt", weights_only=True)
    cloud = load_ply(finished_run / "point_cloud.ply")
    assert len(checkpoint["splats"]["means"]) == len(cloud.splats["means"]) == results.counts.final
    assert checkpoint["step"] == 40
    opacities = checkpoint["splats"]["opacities"]
    torch.testing.assert_close(cloud.splats["opacities"], opacities)


def test_pictures_show_photo_render_and_error(finished_run: Path, tiny: Path) -> None:
    pictures = sorted((finished_run / "renders").glob("*.png"))
    assert len(pictures) == 4
    photo, render, error = read_strip(pictures[0], 3)
    np.testing.assert_array_equal(photo, imageio.imread(tiny / "images" / "000.png"))
    np.testing.assert_array_equal(error, error_heat(absolute_error(photo, render)))
    assert imageio.imread(pictures[0]).shape[0] > len(photo)  # the caption


def test_gs_eval_makes_the_same_numbers_to_the_last_digit(finished_run: Path) -> None:
    for step in (20, 40):
        out = finished_run / f"again_{step}"
        done = run("gs-eval", finished_run, "--step", step, "--out", out, cwd=finished_run)
        assert done.returncode == 0, done.stderr
        assert "equal to the stored scores to the last digit" in done.stdout
        worst = min(load_per_view(out / "per_view.json").views, key=badness)
        said = f"worst views, by PSNR in dB: {worst.name} {worst.scores['psnr']:.3f}, "
        assert said in done.stdout and f"page: {out / 'index.html'}" in done.stdout
        assert worst.name in (out / "index.html").read_text()
        scored = load_evaluation(out / "evaluation.json")
        trained = load_results(finished_run / "results.json")
        assert scored.code == trained.code is not None
        assert scored.data == trained.data is not None
    stored = load_per_view(finished_run / "per_view.json")
    assert load_per_view(finished_run / "again_40/per_view.json") == stored


def test_gs_eval_says_what_differs(finished_run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(finished_run, copy)
    values = json.loads((copy / "results.json").read_text())
    values["evaluations"][-1]["scores"]["psnr"] += 0.5
    values["hardware"]["cpu_threads"] = 7
    (copy / "results.json").write_text(json.dumps(values))
    done = run("gs-eval", copy, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "differs from the stored scores: psnr" in done.stdout
    assert "on 1 CPU threads, and the run on 7" in done.stdout


def test_the_saved_configuration_makes_the_same_run(finished_run: Path, tmp_path: Path) -> None:
    done = run("gs-train", "--config", finished_run / "config.yml", "--out", "b", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    again = load_results(tmp_path / "b/results.json")
    first = load_results(finished_run / "results.json")
    assert again.scores == first.scores
    assert again.counts == first.counts
    assert f"{again.wall_time.total:.1f} s in all: start " in done.stdout


def test_random_background_batches_and_antialiasing_train_too(tiny: Path, tmp_path: Path) -> None:
    options = "--batch-size 3 --render.background random --render.antialiased --init.sh-degree 1"
    done = run("gs-train", "--scene", tiny, "--out", "r", *SMOKE, *options.split(), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    cloud = load_ply(tmp_path / "r/point_cloud.ply")
    assert cloud.antialiased is True
    assert cloud.sh_degree == 1


@pytest.mark.gpu
def test_a_gpu_trains_with_the_reference_where_it_is_asked_to(tiny: Path, tmp_path: Path) -> None:
    found = {}
    for name in ("gsplat", "reference"):
        options = ["--device", "cuda", "--render.rasterizer", name, "--steps", 40]
        done = run("gs-train", "--scene", tiny, "--out", name, *SMOKE, *options, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        found[name] = load_results(tmp_path / name / "results.json")
        assert found[name].protocol.conditions.rasterizer == name
    scores = [results.scores["psnr"] for results in found.values()]
    assert scores[0] == pytest.approx(scores[1], abs=0.5)


def test_profile_names_the_parts_of_a_step(tiny: Path, tmp_path: Path) -> None:
    options = ["--profile", 10, 14]
    done = run("gs-train", "--scene", tiny, "--out", "r", *SMOKE, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    trace = json.loads(gzip.decompress((tmp_path / "r/profile/trace.json.gz").read_bytes()))
    parts = Counter(event["name"] for event in trace["traceEvents"] if event.get("ph") == "X")
    assert {parts[name] for name in ("data", "render", "loss", "backward", "optimizer")} == {4}
    assert "backward" in (tmp_path / "r/profile/table.txt").read_text()


def test_a_dry_run_says_what_the_run_would_take_and_writes_nothing(
    tiny: Path, tmp_path: Path
) -> None:
    limit = ["--max-gaussians", 3000, "--dry-run"]
    done = run("gs-train", "--scene", tiny, "--out", "r", *SMOKE, *limit, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "28 to train on (96x64; 0.00 GB), 4 held out" in lines["photos"]
    assert "at most 3,000" in lines["Gaussians"]
    assert "with 3,000 Gaussians" in lines["memory"]
    assert "for 40 steps" in lines["training"]
    assert not list(tmp_path.iterdir())
    unlimited = run(
        "gs-train", "--scene", tiny, *SMOKE, "--strategy", "default", "--dry-run", cwd=tmp_path
    )
    assert "no limit: set one with --max-gaussians" in unlimited.stdout
    assert "training" not in unlimited.stdout


def test_max_gaussians_holds_for_every_strategy(tiny: Path, tmp_path: Path) -> None:
    for name in ("default", "gsplat-default"):
        options = ["--strategy", name, "--max-gaussians", 300, "--strategy.grow-grad2d", 1e-5]
        done = run("gs-train", "--scene", tiny, "--out", name, *SMOKE, *options, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        results = load_results(tmp_path / name / "results.json")
        assert results.counts.peak <= 300


@pytest.mark.gpu
def test_a_process_that_trained_on_a_gpu_ends_without_a_word(tiny: Path, tmp_path: Path) -> None:
    """The collector is kept from what was imported first; Triton's objects must be freed."""
    weights = {k: v for k, v in os.environ.items() if k == "GS_LPIPS_WEIGHTS"}
    flags = "--steps 40 --schedule-factor 0.005 --device cuda --evaluation.lpips".split()
    flags += ["lpips_alex"] if weights else []
    done = start("gs-train", "--scene", tiny, "--out", "r", *flags, cwd=tmp_path, **weights)
    assert done.returncode == 0, done.stderr
    assert "leaked" not in done.stderr and "Traceback" not in done.stderr, done.stderr
    parts = load_results(tmp_path / "r/results.json").wall_time.parts
    assert parts["device"] > 0 and "start" in done.stdout
