"""Two models view by view. Folders as gs-train leaves them."""

import dataclasses
from pathlib import Path

import pytest
from results_example import example_results

from gs_densify.cli.summary import comparison_text
from gs_densify.errors import ResultError
from gs_densify.results import STANDARD_METRICS, PerView, Scores, ViewScores, save_json
from gs_densify.results.compare import compare, subtract
from gs_densify.results.scored import Scored, load_scored

VIEWS = ["a/DSC07956.JPG", "ü.png"]


def saved(
    folder: Path,
    scene: str = "garden",
    *,
    seed: int = 0,
    psnr: float | None = 27.0,
    **protocol: object,
) -> Scored:
    """A run in a folder of its own, read back."""
    results = example_results()
    scores = Scores(psnr=psnr, psnr_float=27.5, ssim=0.8)
    results = dataclasses.replace(
        results,
        scene=scene,
        seed=seed,
        protocol=dataclasses.replace(results.protocol, scene_name=scene, **protocol),
        scores=scores,
        unavailable={name: "not asked for" for name in scores.missing()},
    )
    per_view = PerView(
        scene=scene,
        strategy="adc",
        seed=seed,
        step=results.steps,
        protocol=results.protocol.name,
        views=[ViewScores(name=name, scores=scores) for name in VIEWS],
    )
    run = folder / f"{scene}_{seed}"
    save_json(run / "results.json", results)
    save_json(run / "per_view.json", per_view)
    return load_scored(run)


def test_files_of_two_evaluations_in_one_folder_are_refused(tmp_path: Path) -> None:
    run = saved(tmp_path, "garden").folder
    other = saved(tmp_path, "room", name="inria").folder
    (run / "per_view.json").write_bytes((other / "per_view.json").read_bytes())
    with pytest.raises(ResultError, match="the files are not of one evaluation"):
        load_scored(run)


def test_a_comparison_is_second_minus_first(tmp_path: Path) -> None:
    first, second = saved(tmp_path, psnr=27.0), saved(tmp_path, seed=1, psnr=28.5)
    found = compare(first, second)
    assert found.difference["psnr"] == 1.5
    assert found.difference.missing() == ("lpips_alex", "lpips_vgg", "lpips_vgg_01")
    assert [view.name for view in found.views] == VIEWS
    assert "+1.500" in comparison_text(found)
    save_json(tmp_path / "comparison.json", found)


def test_a_forced_comparison_is_of_the_common_views(tmp_path: Path) -> None:
    first, second = saved(tmp_path), saved(tmp_path, "room")
    with pytest.raises(ResultError, match="not scored alike: scene_name: garden"):
        compare(first, second)
    fewer = dataclasses.replace(second, views=second.views[1:])
    found = compare(first, fewer, force=True)
    assert [view.name for view in found.views] == VIEWS[1:]
    assert found.protocol_differences == ["scene_name: garden | room"]
    with pytest.raises(ResultError, match="no held-out view in common"):
        compare(first, dataclasses.replace(second, views=[]), force=True)


def test_a_difference_with_an_unknown_is_unknown() -> None:
    difference = subtract(Scores(psnr=2.0, ssim=0.5), Scores(psnr=0.5))
    assert difference == Scores(psnr=1.5)
    assert set(difference.missing()) == set(STANDARD_METRICS) - {"psnr"}
