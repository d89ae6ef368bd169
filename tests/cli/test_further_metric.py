"""A metric of another package: from the command line into every file and table, and back."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import SMOKE, refusal, run

from gs_densify.evaluation.strip import read_strip
from gs_densify.results import load_per_view, load_results

CODE = """
from gs_densify.evaluation.metrics import Metric


def make(setting):
    return lambda render, photo, valid_mask: 255 * (render - photo).abs().mean()


MAE = Metric(
    label="Mean error",
    unit="levels",
    format=".2f",
    higher_is_better=False,
    computed="mean absolute error over pixels and channels",
    make="outside_metric:make",
)
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installed package, on a path of its own."""
    site = tmp_path_factory.mktemp("site")
    (site / "outside_metric.py").write_text(CODE)
    folder = site / "outside-0.3.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 0.3\n")
    (folder / "entry_points.txt").write_text("[gs_densify.metrics]\nmae = outside_metric:MAE\n")
    return site


@pytest.fixture(scope="module")
def with_package(package: Path) -> dict[str, str]:
    paths = [str(package), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


@pytest.fixture(scope="module")
def scored(finished_run: Path, with_package: dict, tmp_path_factory) -> Path:
    """Two evaluations of one run with the metric, `a` and `b`; of the run's two steps."""
    folder = tmp_path_factory.mktemp("scored")
    for name, step in (("a", 20), ("b", 40)):
        options = ["--step", step, "--metrics", "mae", "--pictures", -1, "--out", folder / name]
        done = run("gs-eval", finished_run, *options, cwd=folder, **with_package)
        assert done.returncode == 0, done.stderr
        assert "Mean error" in done.stdout and "levels" in done.stdout
        assert "equal to the stored scores to the last digit" in done.stdout
    return folder


def test_gs_train_takes_it_and_gs_eval_repeats_it(
    tiny: Path, with_package: dict, tmp_path: Path
) -> None:
    options = ["--scene", tiny, "--out", "run", *SMOKE, "--evaluation.metrics", "mae"]
    done = run("gs-train", *options, cwd=tmp_path, **with_package)
    assert done.returncode == 0, done.stderr
    results = load_results(tmp_path / "run/results.json")
    assert f"Mean error {results.scores['mae']:.2f} levels" in done.stdout
    record = results.protocol.metrics["mae"]
    assert (record.unit, record.higher_is_better) == ("levels", False)
    assert record.computed == "mean absolute error over pixels and channels"
    assert record.package == "outside 0.3"
    views = load_per_view(tmp_path / "run/per_view.json").views
    each = [view.scores["mae"] for view in views]
    assert results.scores["mae"] == pytest.approx(sum(each) / len(each))
    again = run("gs-eval", tmp_path / "run", cwd=tmp_path, **with_package)
    assert "equal to the stored scores to the last digit" in again.stdout, again.stderr
    without = run("gs-eval", tmp_path / "run", cwd=tmp_path)
    assert "--evaluation.metrics has 'mae'; known: none; install the package" in refusal(without)
    assert run("gs-eval", tmp_path / "run", "--metrics", cwd=tmp_path).returncode == 0


def test_its_values_are_what_it_computes_of_the_pictures(scored: Path) -> None:
    views = load_per_view(scored / "b/per_view.json").views
    pictures = sorted((scored / "b/renders").glob("*.png"))
    assert len(pictures) == len(views)
    for view, picture in zip(views, pictures, strict=True):
        photo, render, _ = read_strip(picture, 3)
        expected = np.abs(photo.astype(float) - render).mean()
        assert view.scores["mae"] == pytest.approx(expected, rel=1e-4), view.name


def test_comparisons_and_means_show_it_without_the_package(scored: Path, tmp_path: Path) -> None:
    done = run("gs-eval", "--compare", scored / "a", scored / "b", "--out", "c", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = (load_per_view(scored / name / "per_view.json").views for name in "ab")
    comparison = json.loads((tmp_path / "c/comparison.json").read_text())
    differences = [view["difference"]["mae"] for view in comparison["views"]]
    expected = [b.scores["mae"] - a.scores["mae"] for a, b in zip(first, second, strict=True)]
    assert differences == expected
    assert f"{comparison['difference']['mae']:+.2f}" in done.stdout
    assert "Mean error" in done.stdout

    done = run("gs-report", scored / "b", "--format", "json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (table,) = (report := json.loads(done.stdout))["tables"]
    mean = comparison["second"]["scores"]["mae"]
    assert table["rows"][0]["cells"]["mae"]["spread"] == {"mean": mean, "std": None, "n": 1}
    assert [one["name"] for one in report["quantities"]][-2:] == ["mae", "num_gaussians"]
    assert {one["name"]: one["unit"] for one in report["quantities"]}["mae"] == "levels"


def test_a_model_without_it_is_compared_in_the_others(
    scored: Path, finished_run: Path, tmp_path: Path
) -> None:
    done = run("gs-eval", "--compare", scored / "b", finished_run, "--out", "c", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    comparison = json.loads((tmp_path / "c/comparison.json").read_text())
    assert comparison["difference"]["mae"] is None and comparison["difference"]["psnr"] == 0
    assert "Mean error" not in done.stdout


def test_the_same_name_computed_otherwise_is_not_compared(scored: Path, tmp_path: Path) -> None:
    shutil.copytree(scored / "b", tmp_path / "other")
    file = tmp_path / "other/evaluation.json"
    value = json.loads(file.read_text())
    value["protocol"]["metrics"]["mae"]["computed"] = "the median"
    file.write_text(json.dumps(value))
    done = run("gs-eval", "--compare", scored / "b", tmp_path / "other", cwd=tmp_path)
    assert "mean absolute error" in (said := refusal(done)) and "the median" in said


def test_a_metric_that_is_not_installed_is_refused_before_the_training(
    tiny: Path, tmp_path: Path
) -> None:
    options = ["--scene", tiny, "--out", "run", *SMOKE, "--evaluation.metrics", "mae"]
    for more in ([], ["--dry-run"]):
        done = run("gs-train", *options, *more, cwd=tmp_path)
        assert "--evaluation.metrics has 'mae'; known: none" in refusal(done)
        assert not (tmp_path / "run").exists()
