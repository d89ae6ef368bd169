"""Means over scenes and spreads over seeds; comparisons. Folders as gs-train leaves them."""

import dataclasses
import math
import statistics
from pathlib import Path

import pytest
from results_example import example_results

from gs_densify.cli.summary import aggregate_text, comparison_text
from gs_densify.errors import ResultError
from gs_densify.results import (
    STANDARD_METRICS,
    PerView,
    Scores,
    StrategyRecord,
    ViewScores,
    save_json,
)
from gs_densify.results.aggregate import NAMED_MEANS, QUANTITIES, aggregate
from gs_densify.results.compare import compare, subtract
from gs_densify.results.scored import Scored, load_scored

SEVEN, NINE = sorted(NAMED_MEANS["mean_7"]), sorted(NAMED_MEANS["mean_9"])
PLAIN = {"lr": {"means": 1.0}, "profile": None}
VIEWS = ["a/DSC07956.JPG", "ü.png"]


def saved(
    folder: Path,
    scene: str = "garden",
    *,
    seed: int = 0,
    psnr: float | None = 27.0,
    strategy: str = "adc",
    config: dict | None = None,
    **protocol: object,
) -> Scored:
    """A run in a folder of its own, read back."""
    results = example_results()
    scores = Scores(psnr=psnr, psnr_float=27.5, ssim=0.8)
    conditions = dataclasses.replace(results.protocol.conditions, seed=seed)
    block = {"scene_name": scene, "conditions": conditions, **protocol}
    results = dataclasses.replace(
        results,
        scene=scene,
        seed=seed,
        strategy=StrategyRecord(name=strategy),
        config={**PLAIN, "seed": seed, "out": str(folder), **(config or {})},
        protocol=dataclasses.replace(results.protocol, **block),
        scores=scores,
        unavailable={name: "not asked for" for name in scores.missing()},
    )
    views = [ViewScores(name=name, scores=scores) for name in VIEWS]
    per_view = PerView(
        scene=scene,
        strategy=strategy,
        seed=seed,
        step=results.steps,
        protocol=results.protocol.name,
        views=views,
    )
    run = folder / f"{scene}_{strategy}_{seed}"
    save_json(run / "results.json", results)
    save_json(run / "per_view.json", per_view)
    return load_scored(run)


def refusal(runs: list[Scored], **options: str) -> str:
    with pytest.raises(ResultError) as caught:
        aggregate(runs, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_nine_scenes_give_both_means(tmp_path: Path) -> None:
    values = {scene: 20.0 + i for i, scene in enumerate(NINE)}
    runs = [saved(tmp_path, scene, psnr=value) for scene, value in values.items()]
    (group,) = aggregate(runs).groups
    means = {row.name: row for row in group.means}
    assert set(means) == {"mean_7", "mean_9"}
    for name, scenes in (("mean_7", SEVEN), ("mean_9", NINE)):
        found = means[name].quantities["psnr"]
        assert found.mean == pytest.approx(math.fsum(values[s] for s in scenes) / len(scenes))
        assert (found.std, found.n) == (None, 1)
        assert means[name].scenes == scenes
    assert "flowers" in NINE and "treehill" in NINE and set(SEVEN) < set(NINE)


@pytest.mark.parametrize(
    ("scenes", "names"),
    [
        (SEVEN, ["mean_7"]),
        (NINE[:8], ["mean"]),
        (["garden"], ["mean"]),
        ([*NINE, "fox"], ["mean"]),
    ],
)
def test_a_mean_says_what_it_is_over(scenes: list[str], names: list[str], tmp_path: Path) -> None:
    (group,) = aggregate([saved(tmp_path, scene) for scene in scenes]).groups
    assert [row.name for row in group.means] == names
    assert group.means[0].scenes == sorted(scenes)


def test_a_mean_that_is_insisted_on_names_what_is_missing(tmp_path: Path) -> None:
    runs = [saved(tmp_path, scene) for scene in NINE if scene not in ("room", "flowers")]
    assert refusal(runs, mean="mean_9") == "mean_9 needs flowers, room, too; add runs of them"
    assert "mean_7 needs room, too" in refusal(runs, mean="mean_7")
    (group,) = aggregate([*runs, saved(tmp_path, "room")], mean="mean_7").groups
    assert [row.name for row in group.means] == ["mean_7"]


def test_spread_over_seeds_is_the_sample_deviation(tmp_path: Path) -> None:
    table = {"garden": [27.0, 27.4, 26.9], "room": [30.0, 31.0, 30.3]}
    runs = [
        saved(tmp_path, scene, seed=seed, psnr=value)
        for scene, values in table.items()
        for seed, value in enumerate(values)
    ]
    (group,) = aggregate(runs).groups
    assert group.seeds == [0, 1, 2]
    for row in group.scenes:
        found = row.quantities["psnr"]
        assert found.mean == pytest.approx(statistics.fmean(table[row.scene]))
        assert found.std == pytest.approx(statistics.stdev(table[row.scene]))
        assert found.n == 3
    means = [(a + b) / 2 for a, b in zip(*table.values(), strict=True)]
    found = group.means[0].quantities["psnr"]
    assert found.mean == pytest.approx(statistics.fmean(means))
    assert found.std == pytest.approx(statistics.stdev(means))


def test_a_quantity_that_a_run_lacks_has_no_mean(tmp_path: Path) -> None:
    runs = [saved(tmp_path, "garden"), saved(tmp_path, "room", psnr=None)]
    (group,) = aggregate(runs).groups
    quantities = group.means[0].quantities
    assert set(quantities) == set(QUANTITIES)
    assert quantities["psnr"].mean is None
    assert quantities["ssim"].mean == pytest.approx(0.8)
    assert quantities["num_gaussians"].mean == example_results().counts.final
    assert "PSNR" in aggregate_text(aggregate(runs))


def test_strategies_have_a_table_each(tmp_path: Path) -> None:
    runs = [saved(tmp_path, s, strategy=name) for s in ("garden", "room") for name in "ab"]
    result = aggregate(runs)
    assert [group.strategy for group in result.groups] == ["a", "b"]
    text = aggregate_text(result)
    assert text.startswith("protocol default\n\na, 1 seed, 30,000 steps\n")
    assert "mean: of garden, room" in text
    one_lacks = [run for run in runs if (run.scene, run.strategy) != ("room", "b")]
    assert "strategy b lacks room, which another has" in refusal(one_lacks)


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"name": "inria"}, "name: default | inria"),
        ({"quantisation": "float"}, "quantisation: uint8-round | float"),
        ({"image_source": "resized"}, "image_source: official | resized"),
        ({"test_every": 4}, "test_every: 8 | 4"),
    ],
)
def test_runs_under_different_protocols_are_refused(
    changed: dict, what: str, tmp_path: Path
) -> None:
    runs = [saved(tmp_path, "garden"), saved(tmp_path, "room", **changed)]
    said = refusal(runs)
    assert what in said and "garden_adc_0" in said and "room_adc_0" in said


def test_what_belongs_to_a_scene_must_agree_between_its_seeds_only(tmp_path: Path) -> None:
    own = {"test_images": ["x"], "n_test": 1, "downscale": 2, "image_dir": "images_2"}
    aggregate([saved(tmp_path, "garden"), saved(tmp_path, "room", **own)])
    runs = [saved(tmp_path, "garden"), saved(tmp_path, "garden", seed=1, **own)]
    assert "downscale: 4 | 2" in refusal(runs)


def test_what_belongs_to_a_scene_must_agree_between_strategies(tmp_path: Path) -> None:
    runs = [saved(tmp_path, s, strategy=name) for s in ("garden", "room") for name in "ab"]
    runs[3] = saved(tmp_path, "room", strategy="b", downscale=2)
    said = refusal(runs)
    assert "room_a_0" in said and "room_b_0" in said and "downscale: 4 | 2" in said


def test_seeds_and_runs_must_be_complete_and_single(tmp_path: Path) -> None:
    one = saved(tmp_path, "garden")
    assert "both of scene garden, strategy adc, seed 0" in refusal([one, one])
    runs = [one, saved(tmp_path, "garden", seed=1), saved(tmp_path, "room", seed=1)]
    assert "scene garden has seeds 0, 1, scene room 1;" in refusal(runs)
    assert "no run to aggregate" in refusal([])


def test_seeds_of_different_trainings_are_refused(tmp_path: Path) -> None:
    config = {"lr": {"means": 2.0}, "device": "cuda", "new": 1, "profile": [3, 4]}
    other = saved(tmp_path, seed=1, config=config)
    assert "differ in more than the seed: lr.means" in refusal([saved(tmp_path), other])
    steps = dataclasses.replace(saved(tmp_path, "room"), step=7000)
    assert "steps: 30000 | 7000" in refusal([saved(tmp_path), steps])


@pytest.mark.parametrize(
    ("near_plane", "steps", "factor", "differs"),
    [
        (0.04, 9_000, 0.3, ""),
        (0.04, 9_000, 1.0, "schedule_factor"),
        (0.03, 9_000, 0.3, "render.near_plane"),
    ],
)
def test_what_was_found_counts_as_what_an_earlier_version_saved_of_it(
    near_plane: float, steps: int, factor: float, differs: str, tmp_path: Path
) -> None:
    plain = {"steps": steps, "schedule_factor": None, "render": {"near_plane": None}}
    conditions = dataclasses.replace(example_results().protocol.conditions, near_plane=0.04)
    now = saved(tmp_path, config=plain, conditions=conditions)
    earlier = plain | {"schedule_factor": factor, "render": {"near_plane": near_plane}}
    conditions = dataclasses.replace(conditions, seed=1, near_plane=near_plane)
    before = saved(tmp_path, seed=1, config=earlier, conditions=conditions)
    if differs:
        assert refusal([now, before]).endswith(f"differ in more than the seed: {differs}")
    else:
        assert aggregate([now, before]).groups[0].seeds == [0, 1]


def test_an_aggregate_is_saved_without_nan(tmp_path: Path) -> None:
    save_json(tmp_path / "aggregate.json", aggregate([saved(tmp_path, s) for s in NINE]))


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
