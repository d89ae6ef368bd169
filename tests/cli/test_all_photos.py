"""--data.test-every 0: a run on all photos, of which none is held out."""

import json
from pathlib import Path

import pytest
import torch
from commands import SMOKE, refusal, run

from gs_densify.cli.eval import command
from gs_densify.config.options import TrainConfig
from gs_densify.errors import ResultError
from gs_densify.results import STANDARD_METRICS, load_per_view, load_results, read_metrics
from gs_densify.runs.loaded_scene import find_scene
from gs_densify.viewer.model import open_model

WHY = "no view is held out (data.test_every 0)"


@pytest.fixture(scope="module")
def everything(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("everything")
    options = ["--data.test-every", 0, "--evaluation.steps", 20]
    done = run("gs-train", "--scene", tiny, "--out", "run", *SMOKE, *options, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "no scores\n" in done.stdout
    assert f"not computed: PSNR, SSIM: {WHY}\n" in done.stdout
    return folder / "run"


def test_the_run_is_whole_and_its_scores_are_null_with_the_reason(everything: Path) -> None:
    results = load_results(everything / "results.json")
    assert set(results.scores.missing()) == set(STANDARD_METRICS)
    assert {name for name, why in results.unavailable.items() if why == WHY} == {
        *("psnr", "psnr_float", "ssim")
    }, "no LPIPS was asked for, which is another reason"
    assert [record.step for record in results.evaluations] == [20, 40]
    assert [row.psnr for row in read_metrics(everything / "metrics.jsonl")] == [None, None]
    protocol = results.protocol
    assert (protocol.n_train, protocol.n_test, protocol.test_images) == (32, 0, [])
    assert protocol.split_rule == "all views are trained on; none is a test view"
    assert protocol.name == "default (changed: data.test_every)"
    assert load_per_view(everything / "per_view.json").views == []
    assert not (everything / "renders").exists()
    assert (everything / "point_cloud.ply").is_file()


def test_the_files_for_others_are_there_with_nulls(everything: Path) -> None:
    stats = json.loads((everything / "compat/gsplat/stats/val_step0039.json").read_text())
    assert stats["psnr"] is stats["ellipse_time"] is None
    assert stats["num_GS"] == load_results(everything / "results.json").counts.final
    inria = json.loads((everything / "compat/inria/results.json").read_text())
    assert inria["ours_40"] == {"SSIM": None, "PSNR": None, "LPIPS": None}
    per_view = json.loads((everything / "compat/inria/per_view.json").read_text())
    assert per_view["ours_40"] == {"SSIM": {}, "PSNR": {}, "LPIPS": {}}
    assert len(json.loads((everything / "compat/inria/cameras.json").read_text())) == 32


def test_the_photos_that_would_be_held_out_are_trained_on(everything: Path, tiny: Path) -> None:
    """Every photo once an epoch: one that is held out is in nobody's queue."""
    state = torch.load(everything / "checkpoints/step_000040.pt", weights_only=True)
    queued = {index for batch in state["sampler"]["queue"] for index in batch}
    assert len(queued) == 24, "of the second epoch of 32, after 40 steps"
    assert find_scene(TrainConfig(scene=str(tiny))).test_views[0].name == "000.png"


@pytest.mark.parametrize("options", [[], ["--protocol", "inria"], ["--step", "20"]])
def test_gs_eval_says_that_there_is_nothing_to_score(
    options: list[str], everything: Path, tmp_path: Path
) -> None:
    done = run("gs-eval", everything, *options, "--device", "cpu", cwd=tmp_path)
    line = refusal(done)
    assert "was trained on all photos (data.test_every 0): no view is held out" in line
    assert not (everything / "evaluations").exists()


def test_it_is_compared_and_averaged_in_words(
    everything: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("gs-report", everything, cwd=tmp_path)
    assert done.returncode == 0 and "Gaussians" in done.stdout and "PSNR" not in done.stdout
    with pytest.raises(ResultError, match="no held-out view in common"):
        command(["--compare", str(everything), str(everything)])


def test_it_can_be_looked_at_and_finished(everything: Path, tmp_path: Path) -> None:
    model = open_model(everything)
    assert {shot.kind for shot in model.shots} == {"training"}
    stored = load_results(everything / "results.json")
    (everything / "results.json").unlink()
    (everything / "checkpoints/step_000040.pt").unlink()
    done = run("gs-train", "--resume", everything, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert load_results(everything / "results.json").counts == stored.counts


def test_the_benchmark_s_lines_have_no_number(tiny: Path, tmp_path: Path) -> None:
    options = ["--protocol", "mls-bench", "--downscale", 1, "--data.test-every", 0]
    smoke = [*SMOKE, "--steps", 4, "--evaluation.steps", 2]
    done = run("gs-train", "--scene", tiny, "--out", "r", *smoke, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Loaded 32 train, 0 val images" in done.stdout
    assert "best_psnr=nan, psnr=nan, ssim=nan, lpips=nan" in done.stdout
