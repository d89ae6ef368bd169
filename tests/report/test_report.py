"""Tables, what may be compared, and what is said of it."""

import dataclasses
import math
import statistics
from pathlib import Path
from typing import Any

import pytest
from made_runs import CODE, DATA, NINE, SEVEN, made, mean, report_on, row, runs_in
from scipy import stats

from gs_densify.errors import ResultError
from gs_densify.report.formats.grid import footnotes
from gs_densify.report.published import BUILTIN, Published, chosen, known
from gs_densify.report.report import make_report
from gs_densify.report.runs import load_run
from gs_densify.results import Hardware, LpipsRecord
from gs_densify.results.protocol import MetricRecord


def refusal(folder: Path, **options: Any) -> str:
    with pytest.raises(ResultError) as caught:
        report_on(folder, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Means


def test_nine_scenes_give_both_means(tmp_path: Path) -> None:
    values = {scene: 20.0 + i**2 for i, scene in enumerate(NINE)}
    for scene, value in values.items():
        made(tmp_path, scene, psnr=value)
    report = report_on(tmp_path)
    assert [table.name for table in report.tables] == ["mean_7", "mean_9", *NINE]
    assert report.scenes == NINE
    for table, scenes in zip(report.tables, (SEVEN, NINE), strict=False):
        assert table.scenes == scenes
        found = table.rows[0].cells["psnr"].spread
        assert found.mean == pytest.approx(math.fsum(values[s] for s in scenes) / len(scenes))
        assert (found.std, found.n) == (None, 1)
    assert set(NINE) - set(SEVEN) == {"flowers", "treehill"}


@pytest.mark.parametrize(
    ("scenes", "names"),
    [(SEVEN, ["mean_7"]), (NINE[:8], ["mean"]), (["garden"], []), ([*NINE, "fox"], ["mean"])],
)
def test_a_mean_says_what_it_is_over(scenes: list[str], names: list[str], tmp_path: Path) -> None:
    for scene in scenes:
        made(tmp_path, scene)
    report = report_on(tmp_path)
    means = [table for table in report.tables if table.is_mean]
    assert [table.name for table in means] == names
    assert all(table.scenes == sorted(scenes) for table in means)
    note = f"mean: of {', '.join(sorted(scenes))}"
    assert (note in report.notes) == (names == ["mean"])


def test_a_mean_that_is_insisted_on_names_what_is_missing(tmp_path: Path) -> None:
    for scene in NINE:
        if scene not in ("room", "flowers"):
            made(tmp_path, scene)
    assert "mean_9 needs flowers, room of every method" in refusal(tmp_path, mean="mean_9")
    assert "mean_7 needs room of every method" in refusal(tmp_path, mean="mean_7")
    made(tmp_path, "room")
    report = report_on(tmp_path, mean="mean_7")
    assert [table.name for table in report.tables if table.is_mean] == ["mean_7"]


def test_means_are_of_scenes_that_all_methods_have(tmp_path: Path) -> None:
    for i, scene in enumerate(("fox", "garden", "room")):
        made(tmp_path, scene, psnr=20.0 + i)
        if scene != "fox":
            made(tmp_path, scene, psnr=30.0 + i, strategy="b")
    report = report_on(tmp_path)
    assert report.tables[0].scenes == ["garden", "room"]
    assert mean(report, "mean", "adc") == 21.5 and mean(report, "mean", "b") == 31.5
    assert [one.label for one in report.tables[1].rows] == ["adc"]
    assert "b lacks fox; means are of common scenes" in report.notes


def test_spread_over_seeds_is_the_sample_deviation(tmp_path: Path) -> None:
    table = {"garden": [27.0, 27.4, 26.9], "room": [30.0, 31.0, 30.3]}
    for scene, values in table.items():
        for seed, value in enumerate(values):
            made(tmp_path, scene, seed=seed, psnr=value)
    report = report_on(tmp_path)
    for scene, values in table.items():
        found = row(report, scene, "adc").cells["psnr"].spread
        assert found.mean == pytest.approx(statistics.fmean(values))
        assert found.std == pytest.approx(statistics.stdev(values))
        assert found.n == 3
    means = [(a + b) / 2 for a, b in zip(*table.values(), strict=True)]
    found = row(report, "mean", "adc").cells["psnr"].spread
    assert found.mean == pytest.approx(statistics.fmean(means))
    assert found.std == pytest.approx(statistics.stdev(means))


def test_means_are_of_seeds_that_all_scenes_have(tmp_path: Path) -> None:
    for strategy, more in (("adc", 0.0), ("b", 1.0)):
        for scene, seeds in (("garden", (0, 1, 2)), ("room", (1, 2))):
            for seed in seeds:
                psnr = 20.0 + 10 * (seed == 0) * more + seed + more
                made(tmp_path, scene, strategy=strategy, seed=seed, psnr=psnr)
    report = report_on(tmp_path, baseline="adc")
    assert row(report, "mean", "adc").seeds == [1, 2]
    assert mean(report, "mean", "adc") == 21.5
    difference = row(report, "mean", "b").cells["psnr"].difference
    assert difference is not None and difference.mean == 1.0, "of the same seeds as the means"
    assert "adc: not all scenes have the same seeds; its means are of seeds 1, 2" in report.notes


def test_scenes_without_a_seed_in_common_have_a_mean_without_deviation(tmp_path: Path) -> None:
    for scene, seed, psnr in (("garden", 0, 20.0), ("garden", 1, 22.0), ("room", 2, 31.0)):
        made(tmp_path, scene, seed=seed, psnr=psnr)
    report = report_on(tmp_path)
    found = row(report, "mean", "adc")
    assert (found.seeds, found.cells["psnr"].spread.mean) == ([], 26.0)
    assert found.cells["psnr"].spread.std is None
    assert "adc: not all scenes have the same seeds; its means are of unlike seeds" in report.notes


def test_a_quantity_that_a_run_lacks_has_no_mean(tmp_path: Path) -> None:
    made(tmp_path, "garden")
    made(tmp_path, "room", psnr=None)
    report = report_on(tmp_path)
    assert mean(report, "mean", "adc") is None
    assert mean(report, "mean", "adc", "ssim") == pytest.approx(0.8)
    assert mean(report, "mean", "adc", "num_gaussians") == 5
    assert mean(report, "garden", "adc", "train_seconds") == 2.0


# Ranks


def test_the_best_and_second_are_marked_as_printed(tmp_path: Path) -> None:
    values = {"a": 27.004, "b": 27.0, "c": 26.5, "d": 26.0}
    for name, psnr in values.items():
        made(tmp_path, strategy=name, psnr=psnr)
    report = report_on(tmp_path)
    ranks = {one.label: one.cells["psnr"].rank for one in report.tables[0].rows}
    assert ranks == {"a": 1, "b": 1, "c": 2, "d": None}, "27.00 both"
    assert [one.label for one in report.tables[0].rows] == ["a", "b", "c", "d"]
    assert all(one.cells["num_gaussians"].rank is None for one in report.tables[0].rows)


def test_lower_is_better_for_lpips(tmp_path: Path) -> None:
    for name, lpips in (("a", 0.3), ("b", 0.1), ("c", 0.2)):
        made(tmp_path, strategy=name, scores={"lpips_vgg": lpips})
    report = report_on(tmp_path, metrics=["lpips_vgg"])
    found = [(one.label, one.cells["lpips_vgg"].rank) for one in report.tables[0].rows]
    assert found == [("b", 1), ("c", 2), ("a", None)]


def test_nothing_is_best_of_one(tmp_path: Path) -> None:
    made(tmp_path)
    made(tmp_path, strategy="b", psnr=None)
    assert [r.cells["psnr"].rank for r in report_on(tmp_path).tables[0].rows] == [None, None]


# Differences


def test_differences_are_paired_over_views_and_over_scenes(tmp_path: Path) -> None:
    views = {"garden": ([20.0, 25.0, 31.0], [21.0, 25.5, 33.0]), "room": ([30.0, 31.0], [29.0] * 2)}
    for scene, (ours, theirs) in views.items():
        made(tmp_path, scene, psnr=statistics.fmean(ours), views=ours)
        made(tmp_path, scene, psnr=statistics.fmean(theirs), views=theirs, strategy="b")
    report = report_on(tmp_path, baseline="adc")
    for table, (ours, theirs) in views.items():
        found = row(report, table, "b").cells["psnr"].difference
        expected = stats.ttest_rel(theirs, ours)
        assert found is not None and found.n == len(ours)
        assert found.mean == pytest.approx(statistics.fmean(theirs) - statistics.fmean(ours))
        assert found.p == pytest.approx(expected.pvalue)
    found = row(report, "mean", "b").cells["psnr"].difference
    pairs = [[statistics.fmean(side) for side in sides] for sides in views.values()]
    ours, theirs = zip(*pairs, strict=True)
    assert found is not None and found.n == 2
    assert found.p == pytest.approx(stats.ttest_rel(theirs, ours).pvalue)
    assert row(report, "mean", "adc").cells["psnr"].difference is None
    assert row(report, "garden", "b").cells["num_gaussians"].difference is None
    assert "the methods here: 'adc', 'b'" in refusal(tmp_path, baseline="c")


def test_a_view_is_its_mean_over_seeds(tmp_path: Path) -> None:
    for seed, views in enumerate(([20.0, 30.0], [22.0, 34.0])):
        made(tmp_path, seed=seed, views=views)
    made(tmp_path, strategy="b", views=[24.0, 32.0, 50.0])
    report = report_on(tmp_path, baseline="adc", allow=["protocols"])
    found = row(report, "garden", "b").cells["psnr"].difference
    assert found is not None and (found.mean, found.n) == (1.5, 2)


def test_a_view_that_not_all_seeds_have_is_left_out(tmp_path: Path) -> None:
    made(tmp_path, seed=0, views=[20.0, 30.0])
    made(tmp_path, seed=1, views=[22.0, 34.0, 9.0])
    made(tmp_path, strategy="b", views=[24.0, 32.0, 50.0])
    report = report_on(tmp_path, baseline="adc", allow=["protocols"])
    found = row(report, "garden", "b").cells["psnr"].difference
    assert found is not None and (found.mean, found.n) == (1.5, 2)


def test_a_scene_without_a_score_leaves_no_difference_over_scenes(tmp_path: Path) -> None:
    for scene in ("fox", "garden", "room"):
        made(tmp_path, scene, psnr=None if scene == "room" else 27.0)
        made(tmp_path, scene, strategy="b")
    cells = row(report_on(tmp_path, baseline="adc"), "mean", "b").cells
    assert cells["psnr"].difference is None
    assert cells["ssim"].difference is not None and cells["ssim"].difference.n == 3


# What may be compared


def test_nothing_to_report_on_is_said() -> None:
    with pytest.raises(ResultError, match="no finished run to report on"):
        make_report([])


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
    changed: dict[str, Any], what: str, tmp_path: Path
) -> None:
    one, two = made(tmp_path, "garden"), made(tmp_path, "room", **changed)
    assert refusal(tmp_path).startswith(f"{one} and {two} were not scored alike: {what};")
    assert what in refusal(tmp_path, allow=("code", "data"))
    report = report_on(tmp_path, allow=("protocols",))
    assert f"NOT SCORED ALIKE: {what}" in list(footnotes(report))
    assert report.protocols == sorted({"default", changed.get("name", "default")})


def test_what_belongs_to_a_scene_must_agree_on_it_alone(tmp_path: Path) -> None:
    own = {"test_images": ["x"], "n_test": 1, "downscale": 2, "image_dir": "images_2"}
    made(tmp_path, "garden")
    made(tmp_path, "room", **own)
    report_on(tmp_path)
    made(tmp_path, "room", strategy="b")
    said = refusal(tmp_path)
    assert "room_adc_0" in said and "room_b_0" in said and "downscale: 2 | 4" in said


def test_a_metric_must_be_the_same_wherever_it_is(tmp_path: Path) -> None:
    """Also where the first run of all has none of it."""
    record = {n: LpipsRecord(network="vgg", input_range=n, package="x") for n in ("[0, 1]", "[-1]")}
    made(tmp_path, "bonsai", lpips={})
    made(tmp_path, "garden", lpips={"lpips_vgg": record["[0, 1]"]})
    made(tmp_path, "room", lpips={"lpips_vgg": record["[-1]"]})
    assert "lpips_vgg: vgg, inputs in [0, 1] | vgg, inputs in [-1]" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (dataclasses.replace(DATA, photos="f2"), "the photos differ"),
        (dataclasses.replace(DATA, model="m2"), "the COLMAP model differ"),
        (dataclasses.replace(DATA, model="m2", photos="f2"), "the COLMAP model and the photos"),
    ],
)
def test_other_data_of_one_scene_is_refused(data: Any, what: str, tmp_path: Path) -> None:
    made(tmp_path, data=None)
    one, two = made(tmp_path, strategy="b"), made(tmp_path, strategy="c", data=data)
    made(tmp_path, "room", data=data)
    said = refusal(tmp_path)
    assert said.startswith(f"{one} and {two} are both of scene garden, but {what}")
    assert what in refusal(tmp_path, allow=("code", "protocols"))
    notes = report_on(tmp_path, allow=("data",)).notes
    (note,) = [note for note in notes if note.startswith("NOT THE SAME DATA")]
    assert note.startswith(f"NOT THE SAME DATA: garden: {what}"), "and not of the room's"


def test_methods_may_be_of_different_code_which_is_said(tmp_path: Path) -> None:
    made(tmp_path)
    assert "code: c1" in report_on(tmp_path).notes
    made(tmp_path, strategy="b", code=dataclasses.replace(CODE, package="p2", commit="c2"))
    assert "made by different code: adc: c1; b: c2" in report_on(tmp_path).notes


def test_a_run_that_went_on_with_other_code_is_named(tmp_path: Path) -> None:
    changed = {"resumed_with": [dataclasses.replace(CODE, package="p2")]}
    run = made(tmp_path, changed=changed)
    assert f"{run} was resumed with other code than it began with" in report_on(tmp_path).notes


# What is said


def test_a_budget_that_was_missed_is_named(tmp_path: Path) -> None:
    for strategy, final in (("a", 1_000), ("b", 1_010), ("c", 989), ("d", 1_011)):
        made(tmp_path, strategy=strategy, config={"budget": 1_000}, final=final)
    made(tmp_path, strategy="e", config={"budget": None}, final=5)
    notes = [note for note in report_on(tmp_path).notes if "ended with" in note]
    assert notes == [
        f"{label} on garden, seed 0, ended with {final} of 1,000 Gaussians"
        for label, final in (("c", "989"), ("d", "1,011"))
    ]


def test_machines_are_named(tmp_path: Path) -> None:
    made(tmp_path, conditions={"gpu": "H100"})
    made(tmp_path, seed=1, conditions={"gpu": "H100"})
    assert "trained on H100" in report_on(tmp_path).notes
    made(tmp_path, seed=2)
    assert (
        "NOT ONE MACHINE, so times differ for that alone: H100 (2 runs), the CPU (1 runs)"
        in report_on(tmp_path).notes
    )


def test_runs_that_shared_a_device_are_named(tmp_path: Path) -> None:
    alone, shared = (
        Hardware(device="cuda:0", gpu="H100", cpu_count=2, platform="Linux", runs_at_a_time=number)
        for number in (1, 2)
    )
    made(tmp_path, strategy="a", changed={"hardware": alone})
    assert not any("NOT ALONE" in note for note in report_on(tmp_path).notes)
    made(tmp_path, strategy="b", changed={"hardware": shared})
    made(tmp_path, strategy="b", seed=1, changed={"hardware": alone})
    assert (
        "NOT ALONE, so times say little: runs at a time on one device: b: 2"
        in report_on(tmp_path).notes
    )


def test_methods_of_other_seeds_are_named(tmp_path: Path) -> None:
    made(tmp_path)
    made(tmp_path, strategy="b")
    assert not any("seeds differ" in note for note in report_on(tmp_path).notes)
    made(tmp_path, strategy="b", seed=1)
    assert "seeds differ: adc: 0; b: 0, 1" in report_on(tmp_path).notes


def test_every_training_option_that_differs_between_methods_is_said(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "steps": 7,
        "lr": {"means": 1.0, "sh0": 2.0},
        "render": {"absgrad": True},
        "init": {"opacity": 0.5},
        "modules": ["exposure"],
        "loss": {"theirs": 0.5},
        "budget": 9,
    }
    made(tmp_path, config={"steps": 8})
    made(tmp_path, strategy="b", config=changes)
    report = report_on(tmp_path)
    assert {one.name for one in report.differences} == {
        *("steps", "lr.means", "lr.sh0", "render.absgrad", "init.opacity", "modules"),
        *("loss.theirs", "budget"),
    }
    said = list(footnotes(report))
    assert "steps: adc: 8; b: 7" in said and "modules: adc: []; b: [exposure]" in said
    assert "loss.theirs: adc: 0.0; b: 0.5" in said and "budget: adc: none; b: 9" in said


def test_options_of_strategies_are_compared_within_one(tmp_path: Path) -> None:
    for name, strategy, edge in (("x", "adc", 1), ("y", "adc", 2), ("z", "b", 3)):
        made(tmp_path, strategy=strategy, label=name, config={"strategy": {"edge": edge}})
    (one,) = report_on(tmp_path).differences
    assert (one.name, one.values) == ("strategy.edge", {"x": [1], "y": [2], "z": [3]})


def test_a_model_without_options_hides_no_difference(tmp_path: Path) -> None:
    made(tmp_path, config={"steps": 7})
    made(tmp_path, strategy="b", config={"steps": 8})
    plain = dataclasses.replace(load_run(made(tmp_path / "x")), config={}, strategy=None)
    runs = [run for run in runs_in(tmp_path) if run.path.parent == tmp_path]
    (one,) = make_report([*runs, plain]).differences
    assert (one.name, one.values) == ("steps", {"adc": [7], "b": [8], "model": []})
    said = list(footnotes(make_report([*runs, plain])))
    assert "steps: adc: 7; b: 8; model: has no such option" in said


# Columns


def test_columns_are_what_was_measured_or_asked_for(tmp_path: Path) -> None:
    record = MetricRecord(label="Mean error", higher_is_better=False, computed="mean", format=".2f")
    made(tmp_path, scores={"mae": 1.234}, metrics={"mae": record})
    costs = ["num_gaussians", "train_seconds"]
    assert [q.name for q in report_on(tmp_path).quantities] == ["psnr", "ssim", "mae", *costs]
    asked = report_on(tmp_path, metrics=["mae", "psnr_float", "mae"])
    assert [q.name for q in asked.quantities] == ["mae", "psnr_float", *costs]
    assert asked.quantities[0].text(1.234) == "1.23"
    assert "known here: psnr, psnr_float" in refusal(tmp_path, metrics=["pnsr"])
    assert "lpips_vgg was measured in none" in refusal(tmp_path, metrics=["lpips_vgg"])


# Numbers of others


def test_published_numbers_stand_below_ours_and_are_never_ranked(tmp_path: Path) -> None:
    for strategy in "ab":
        for scene in NINE:
            made(tmp_path, scene, strategy=strategy, psnr=20.0)
    entries = chosen(["3dgs", "mcmc", "gsplat-default"])
    report = report_on(tmp_path, published=entries, baseline="a")
    rows = report.tables[1].rows
    assert [one.label for one in rows] == ["a", "b", "3DGS", "3DGS-MCMC"]
    assert [one.cells["psnr"].rank for one in rows] == [1, 1, None, None]
    assert rows[2].cells["psnr"].spread.mean == 27.21 and rows[2].seeds == []
    assert rows[2].cells["psnr"].difference is None
    assert set(rows[3].cells) == {"psnr", "ssim", "num_gaussians", "train_seconds"}
    assert [one.label for one in report.tables[0].rows] == ["a", "b", "gsplat, default"]
    said = list(footnotes(report))
    for entry in entries:
        assert f"{entry.method}, published: {entry.source}; {entry.protocol}" in said


def test_a_published_method_called_like_ours_keeps_its_source(tmp_path: Path) -> None:
    made(tmp_path, label="3DGS")
    entries = [
        Published(name=n, method="3DGS", source=n, protocol="p", scores={"garden": {"psnr": 1.0}})
        for n in ("one", "two")
    ]
    said = list(footnotes(report_on(tmp_path, published=entries)))
    assert {f"3DGS, published: {name}; p" for name in ("one", "two")} <= set(said)


def test_published_numbers_that_fit_nothing_here_are_refused(tmp_path: Path) -> None:
    made(tmp_path)
    assert "--published names numbers of mean_9" in refusal(tmp_path, published=chosen(["3dgs"]))
    other = Published(name="x", method="X", source="s", protocol="p", scores={"garden": {"fid": 1}})
    assert "the tables here are of garden" in refusal(tmp_path, published=[other])


def test_built_in_entries_say_where_they_are_from() -> None:
    assert BUILTIN.is_file() and chosen(["all"]) == list(known().values())
    for name, entry in known().items():
        assert entry.name == name and entry.method and entry.source and entry.protocol
        for table, values in entry.scores.items():
            assert table in ("mean_7", "mean_9") and values
            assert 15 < values["psnr"] < 40 and 0 < values["ssim"] < 1
            assert all(0 < v < 1 for k, v in values.items() if k.startswith("lpips"))


GOOD = "ours:\n  method: Ours\n  source: a paper\n  protocol: theirs\n"


def test_a_file_of_one_s_own_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "own.yml"
    path.write_text(GOOD + "  scores: {garden: {psnr: 27, ssim: 0.8}}\n")
    first, second = chosen([str(path), "3dgs"])
    assert (first.method, first.values_for("garden")) == ("Ours", {"psnr": 27, "ssim": 0.8})
    assert first.values_for("room") == {} and second.name == "3dgs"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "holds no entries"),
        ("a: [", "cannot be read"),
        ("a: 2024-13-45", "cannot be read"),
        ("ours: 1", "ours: is incomplete"),
        (GOOD, "ours: is incomplete"),
        (GOOD + "  scores: {}\n  extra: 1\n", "ours: is incomplete"),
        (GOOD.replace("a paper", "7") + "  scores: {}\n", "ours: is incomplete"),
        (GOOD + "  scores: [1]\n", "ours: scores are no numbers"),
        (GOOD + "  scores: {garden: 27}\n", "ours: scores are no numbers"),
        (GOOD + "  scores: {garden: {psnr: much}}\n", "ours: scores are no numbers"),
        (GOOD + "  scores: {garden: {psnr: true}}\n", "ours: scores are no numbers"),
        (GOOD + "  scores: {garden: {psnr: .nan}}\n", "ours: scores are no numbers"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line(
    text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "own.yml"
    path.write_text(text)
    with pytest.raises(ResultError) as caught:
        chosen([str(path)])
    assert str(caught.value).startswith(f"{path}: ") and message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_lists_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="has '4dgs'; all, a YAML file, or some of 3dgs, "):
        chosen(["4dgs"])
    with pytest.raises(ResultError, match="cannot be read"):
        chosen([str(tmp_path / "none.yml")])
