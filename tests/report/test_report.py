"""gs-report's tables: which runs are a method's, means, spreads, tests of differences, ranks."""

import statistics
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from report_example import RECORDS, made
from scipy.stats import ttest_rel

from gs_densify.errors import ResultError
from gs_densify.report.methods import methods_of
from gs_densify.report.quantities import COSTS
from gs_densify.report.report import NAMED_MEANS, Report, Table, make_report
from gs_densify.report.runs import Run, find_runs
from gs_densify.results import COST_NAMES, CodeRecord, DataRecord

SEVEN, NINE = sorted(NAMED_MEANS["mean_7"]), sorted(NAMED_MEANS["mean_9"])


def refusal(runs: list[Run], **options: object) -> str:
    with pytest.raises(ResultError) as caught:
        make_report(runs, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def table(report: Report, name: str) -> Table:
    (found,) = (one for one in report.tables if one.name == name)
    return found


def labels(runs: list[Run], **options: object) -> list[str]:
    return [method.label for method in make_report(runs, **options).methods]


def test_seeds_are_of_one_method_and_variants_of_options_are_methods(tmp_path: Path) -> None:
    factors = {"a": 1.0, "b": 0.5}
    runs = [
        made(tmp_path / name, seed=seed, options={"strategy.prune_opa": factor, "steps": 9})
        for name, factor in factors.items()
        for seed in (0, 1)
    ]
    assert labels(runs) == ["default (prune_opa=1.0)", "default (prune_opa=0.5)"]
    assert labels(runs[:2]) == ["default"]
    other = made(tmp_path, strategy="mcmc", options={"strategy.prune_opa": 7.0})
    assert labels([*runs[:2], other]) == ["default", "mcmc"]


def test_a_preset_says_what_several_options_do(tmp_path: Path) -> None:
    fast = {"preset": "fast", "steps": 9, "loss.ssim": 0.3}
    runs = [made(tmp_path / "a"), made(tmp_path / "b", options=fast)]
    assert labels(runs) == ["default", "default (fast)"]
    again = made(tmp_path / "c", options=fast | {"loss.ssim": 0.4})
    assert labels([*runs, again])[1:] == [
        "default (fast, loss.ssim=0.3)",
        "default (fast, loss.ssim=0.4)",
    ]


def test_a_name_of_its_own_is_the_method_s(tmp_path: Path) -> None:
    runs = [made(tmp_path, label=name, options={"steps": n}) for n, name in enumerate("xy")]
    assert labels(runs) == ["x", "y"]
    clash = made(tmp_path, label="x", strategy="mcmc")
    assert "are of different methods and both called 'x'" in refusal([runs[0], clash])


@pytest.mark.parametrize(
    ("near_plane", "factor", "differs"),
    [(0.04, 0.3, False), (0.04, 1.0, True), (0.03, 0.3, True)],
)
def test_what_was_found_counts_as_what_an_earlier_version_saved_of_it(
    near_plane: float, factor: float, differs: bool, tmp_path: Path
) -> None:
    plain = {"steps": 9_000, "schedule_factor": None, "render.near_plane": None}
    now = made(tmp_path, options=plain, conditions={"near_plane": 0.04})
    earlier = plain | {"schedule_factor": factor, "render.near_plane": near_plane}
    before = made(tmp_path, seed=1, options=earlier, conditions={"near_plane": near_plane})
    assert (len(labels([now, before])) == 2) == differs


def test_labels_can_be_shown_otherwise(tmp_path: Path) -> None:
    runs = [made(tmp_path / name, options={"preset": name}) for name in ("fast", "compact")]
    pairs = ["default (fast)=a = b", "default (compact)=default"]
    assert labels(runs, rename=pairs, baseline="a = b") == ["a = b", "default"]
    said = refusal(runs, rename=["default (slow)=a"])
    assert "--rename has 'default (slow)=a'; LABEL=NEW with one of 'default (fast)'" in said
    for useless in ("default (fast)", "default (fast)="):
        assert f"--rename has '{useless}'" in refusal(runs, rename=[useless])
    clash = ["default (fast)=x", "default (compact)=x"]
    assert "different methods and both called 'x'" in refusal(runs, rename=clash)


def test_labels_with_equals_signs_are_told_by_the_longest(tmp_path: Path) -> None:
    runs = [made(tmp_path / str(n), options={"steps": n}) for n in (1, 2)]
    assert labels(runs, rename=["default (steps=1)=one"]) == ["one", "default (steps=2)"]
    assert "--rename has 'defaults=a'" in refusal(runs[:1], rename=["defaults=a"])


def test_a_run_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    runs = [made(tmp_path / name) for name in "ab"]
    said = refusal(runs)
    assert "both of scene garden, 'default', seed 0; give one of them" in said
    assert str(runs[0].path) in said and str(runs[1].path) in said


def test_seeds_of_a_label_that_differ_in_options_are_refused(tmp_path: Path) -> None:
    runs = [made(tmp_path, label="x", seed=n, options={"loss.ssim": n / 2}) for n in (0, 1)]
    assert "differ in more than the seed: loss.ssim" in refusal(runs)
    fine = {"log_every": 7, "data.workers": 3, "evaluation.steps": [5]}  # change no number
    runs = [made(tmp_path, label="x"), made(tmp_path, label="x", seed=1, options=fine)]
    assert labels(runs) == ["x"]


@pytest.mark.parametrize(
    ("code", "what"),
    [
        (CodeRecord(strategy="s2", package="p1"), "the strategy's source differs (s1 | s2)"),
        (CodeRecord(strategy="s1", package="p2", commit="c2"), "source differs (c1 | c2)"),
        (None, "gs_densify's version differs (0.1.0 | 9)"),
    ],
)
def test_code_that_differs_between_seeds_is_refused_unless_allowed(
    code: CodeRecord | None, what: str, tmp_path: Path
) -> None:
    versions = {"gs_densify": "0.1.0" if code else "9"}
    other = made(tmp_path, seed=1, code=code, conditions={"versions": versions})
    runs = [made(tmp_path), other]
    assert what in refusal(runs)
    assert "--allow code" in refusal(runs)
    (method,) = make_report(runs, allow=["code"]).methods
    assert len(method.codes) == 2
    same = CodeRecord(strategy="s1", package="p1", commit="another")
    assert len(labels([runs[0], made(tmp_path, seed=2, code=same)])) == 1, "digests count"


def test_methods_of_different_code_are_compared_with_a_note(tmp_path: Path) -> None:
    later = CodeRecord(strategy="s2", package="p2", commit="c2")
    notes = make_report([made(tmp_path), made(tmp_path, strategy="mcmc", code=later)]).notes
    assert "made by different code: default: c1; mcmc: c2" in notes


def test_other_data_is_refused_unless_allowed(tmp_path: Path) -> None:
    data = [DataRecord(model="m", photos=photos) for photos in "pq"]
    runs = [made(tmp_path, seed=n, data=data[n]) for n in (0, 1)]
    assert "both of scene garden, but the photos differ" in refusal(runs)
    assert "NOT THE SAME DATA: garden: the photos differ" in make_report(runs, allow=["data"]).notes
    make_report([runs[0], made(tmp_path, scene="room", data=data[1])])


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"name": "inria"}, "name: default | inria"),
        ({"quantisation": "float"}, "quantisation: uint8-round | float"),
        ({"test_every": 4}, "test_every: 8 | 4"),
    ],
)
def test_runs_scored_otherwise_are_refused_unless_allowed(
    changed: dict, what: str, tmp_path: Path
) -> None:
    runs = [made(tmp_path), made(tmp_path, scene="room", protocol=changed)]
    said = refusal(runs)
    assert what in said and str(runs[0].path) in said and str(runs[1].path) in said
    assert f"NOT SCORED ALIKE: {what}" in make_report(runs, allow=["protocols"]).notes


def test_what_belongs_to_a_scene_must_agree_on_it_only(tmp_path: Path) -> None:
    own = {"downscale": 2, "image_dir": "images_2"}
    make_report([made(tmp_path), made(tmp_path, scene="room", protocol=own)])
    runs = [made(tmp_path), made(tmp_path, scene="room"), made(tmp_path, strategy="mcmc")]
    runs.append(made(tmp_path, scene="room", strategy="mcmc", protocol=own))
    assert "downscale: 1 | 2" in refusal(runs)


@pytest.mark.parametrize(
    ("scenes", "names"),
    [
        (SEVEN, ["mean_7"]),
        (NINE, ["mean_7", "mean_9"]),
        (NINE[:8], ["mean"]),
        (["garden"], []),
        ([*NINE, "fox"], ["mean"]),
    ],
)
def test_a_mean_says_what_it_is_over(scenes: list[str], names: list[str], tmp_path: Path) -> None:
    values = {scene: 20.0 + 2.0 * i for i, scene in enumerate(scenes)}
    report = make_report([made(tmp_path, scene=s, views={"v": x}) for s, x in values.items()])
    means = [one for one in report.tables if one.is_mean]
    assert [one.name for one in means] == names
    for one in means:
        expected = NAMED_MEANS.get(one.name, set(scenes))
        assert one.scenes == sorted(expected)
        mean = one.rows[0].cells["psnr"].spread.mean
        assert mean == pytest.approx(statistics.fmean(values[scene] for scene in expected))
    assert report.scenes == sorted(scenes)


def test_a_mean_that_is_insisted_on_names_what_is_missing(tmp_path: Path) -> None:
    runs = [made(tmp_path, scene=scene) for scene in NINE if scene not in ("room", "flowers")]
    assert "--mean mean_9 needs flowers, room of every method, too" in refusal(runs, mean="mean_9")
    report = make_report([*runs, made(tmp_path, scene="room")], mean="mean_7")
    assert [one.name for one in report.tables if one.is_mean] == ["mean_7"]


def test_a_mean_is_of_the_scenes_that_all_methods_have(tmp_path: Path) -> None:
    runs = [made(tmp_path, scene=scene) for scene in ("garden", "room", "stump")]
    runs += [made(tmp_path, scene=scene, strategy="mcmc") for scene in ("garden", "room")]
    report = make_report(runs)
    assert table(report, "mean").scenes == ["garden", "room"]
    assert "mcmc lacks stump; means are of common scenes" in report.notes
    assert [row.label for row in table(report, "stump").rows] == ["default"]


def test_spread_is_the_sample_deviation_over_seeds(tmp_path: Path) -> None:
    values = {"garden": [27.0, 27.4, 26.9], "room": [30.0, 31.0, 30.3]}
    runs = [
        made(tmp_path, scene=scene, seed=seed, views={"v": value})
        for scene, each in values.items()
        for seed, value in enumerate(each)
    ]
    report = make_report(runs)
    means = [statistics.fmean(pair) for pair in zip(*values.values(), strict=True)]
    for name, each in {**values, "mean": means}.items():
        (row,) = table(report, name).rows
        found = row.cells["psnr"].spread
        assert found.mean == pytest.approx(statistics.fmean(each))
        assert found.std == pytest.approx(statistics.stdev(each))
        assert (found.n, row.seeds) == (3, [0, 1, 2])
    one_lacks = make_report(runs[:-1])
    found = table(one_lacks, "mean").rows[0].cells["psnr"].spread
    assert found.std == pytest.approx(statistics.stdev(means[:2])), "over the seeds of all scenes"


def test_differences_are_student_s_test_of_pairs(tmp_path: Path) -> None:
    """On a scene the pairs are views, with means over seeds; in a mean, scenes. Against scipy."""
    rng = np.random.default_rng(3)
    scenes = ["garden", "room", "stump"]
    psnr = {
        (strategy, scene, seed): rng.normal(27.0 + (strategy == "mcmc"), 1.0, 6)
        for strategy, scene, seed in product(("default", "mcmc"), scenes, (0, 1))
    }
    names = [f"{i}.png" for i in range(6)]
    runs = [
        made(
            tmp_path,
            strategy=strategy,
            scene=scene,
            seed=seed,
            views=dict(zip(names, map(float, values), strict=True)),
        )
        for (strategy, scene, seed), values in psnr.items()
    ]
    report = make_report(runs, baseline="default")

    def views(strategy: str, scene: str) -> np.ndarray:
        return (psnr[strategy, scene, 0] + psnr[strategy, scene, 1]) / 2

    pairs = {scene: (views("mcmc", scene), views("default", scene)) for scene in scenes}
    both = [np.array([views(s, scene).mean() for scene in scenes]) for s in ("mcmc", "default")]
    pairs["mean"] = (both[0], both[1])
    for name, (ours, theirs) in pairs.items():
        rows = {row.label: row.cells["psnr"] for row in table(report, name).rows}
        expected = ttest_rel(ours, theirs)
        interval = expected.confidence_interval(0.95)
        found = rows["mcmc"].difference
        assert rows["default"].difference is None and found is not None
        assert found.mean == pytest.approx((ours - theirs).mean())
        assert found.p == pytest.approx(expected.pvalue)
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
        assert found.n == len(ours)
        assert found.is_noise == (expected.pvalue > 0.05)


def test_views_that_all_differ_by_the_same_leave_nothing_to_chance(tmp_path: Path) -> None:
    runs = [made(tmp_path), made(tmp_path, strategy="mcmc", views={"a_b.png": 27, "ü.png": 29})]
    rows = {row.label: row for row in make_report(runs, baseline="default").tables[0].rows}
    found = rows["mcmc"].cells["psnr"].difference
    assert found is not None and (found.mean, found.p, found.is_noise) == (1.0, 0.0, False)
    same = rows["mcmc"].cells["ssim"].difference
    assert same is not None and (same.mean, same.p, same.is_noise) == (0.0, 1.0, True)
    said = refusal(runs, baseline="mmc")
    assert "--baseline is 'mmc'; the methods here: 'default', 'mcmc'" in said


def test_the_best_and_the_second_are_told_as_far_as_the_digits_go(tmp_path: Path) -> None:
    values = {"w": 27.0, "x": 27.5, "y": 27.501, "z": 27.2}
    runs = [made(tmp_path, label=n, views={"v": value}) for n, value in values.items()]
    (found,) = make_report(runs).tables
    assert [row.label for row in found.rows] == ["y", "x", "z", "w"], "the best first"
    ranks = {row.label: row.cells["psnr"].rank for row in found.rows}
    assert ranks == {"y": 1, "x": 1, "z": 2, "w": None}, "27.50 twice"
    assert {row.cells["num_gaussians"].rank for row in found.rows} == {None}, "a cost is no score"
    assert {row.cells["ssim"].rank for row in found.rows} == {1}
    (alone,) = make_report(runs[:1]).tables
    assert alone.rows[0].cells["psnr"].rank is None


def test_missing_a_budget_is_noted(tmp_path: Path) -> None:
    ends = {0: 1009, 1: 991, 2: 1011}
    runs = [
        made(tmp_path, seed=n, num_gaussians=size, options={"budget": 1000})
        for n, size in ends.items()
    ]
    notes = [note for note in make_report(runs).notes if "Gaussians" in note]
    assert notes == ["default on garden, seed 2, ended with 1,011 of 1,000 Gaussians"]


def test_other_machines_and_seeds_are_noted(tmp_path: Path) -> None:
    runs = [made(tmp_path), made(tmp_path, strategy="mcmc", seed=1, conditions={"gpu": "X"})]
    notes = make_report(runs).notes
    assert "seeds differ: default: 0; mcmc: 1" in notes
    assert any("NOT ONE MACHINE" in note and "X (1 runs)" in note for note in notes)


def test_columns_are_what_was_measured(tmp_path: Path) -> None:
    assert tuple(one.name for one in COSTS) == COST_NAMES
    run = made(tmp_path)
    names = [one.name for one in make_report([run]).quantities]
    assert names == ["psnr", "ssim", *COST_NAMES]
    names = [one.name for one in make_report([run], metrics=["ssim"]).quantities]
    assert names == ["ssim", *COST_NAMES]
    assert "--metrics lpips_vgg was measured in none" in refusal([run], metrics=["lpips_vgg"])
    assert "--metrics has 'fid'; known here: psnr" in refusal([run], metrics=["fid"])
    assert "no finished run" in refusal([])


def test_options_that_differ_are_listed_by_strategy(tmp_path: Path) -> None:
    runs = [made(tmp_path, label="a"), made(tmp_path, label="b", options={"loss.ssim": 0.9})]
    runs.append(made(tmp_path, strategy="mcmc", options={"strategy.prune_opa": 0.5}))
    found = {one.name: one.values for one in make_report(runs).differences}
    assert found["loss.ssim"] == {"a": [0.2], "b": [0.9], "mcmc": [0.2]}
    assert "strategy.prune_opa" not in found, "options of two strategies are two things"


def test_marks_are_the_first_evaluations_that_have_them(tmp_path: Path) -> None:
    runs = [
        made(tmp_path, seed=0, passed={5.0: 24.0, 10.0: 26.0, 20.0: 25.0}),
        made(tmp_path, seed=1, passed={6.0: 25.0, 12.0: 25.9, 24.0: 26.5}),
        made(tmp_path, strategy="mcmc", passed={7.0: 25.0}),
    ]
    (found,) = make_report(runs, marks=[27, 26, 25, 25]).marks
    assert (found.name, found.marks) == ("garden", [25, 26, 27])
    rows = {row.label: row for row in found.rows}
    assert [one.mean for one in rows["default"].seconds] == [8.0, 17.0, None]
    assert rows["default"].seconds[0].std == pytest.approx(statistics.stdev([10.0, 6.0]))
    assert [one.mean for one in rows["mcmc"].seconds] == [7.0, None, None]
    assert rows["default"].is_evaluated_alike
    uneven = make_report([runs[0], made(tmp_path, seed=2, passed={1.0: 20.0})], marks=[20]).marks
    assert not uneven[0].rows[0].is_evaluated_alike
    assert make_report(runs).marks == []


@pytest.mark.parametrize("record", sorted(RECORDS.glob("*/*.run.json")), ids=lambda p: p.name)
def test_every_record_is_read_and_is_whole(record: Path) -> None:
    (run,) = find_runs([record]).runs
    assert [view.name for view in run.views] == run.protocol.test_images
    mean = statistics.fmean(view.scores["psnr"] or 0.0 for view in run.views)
    assert run.scores["psnr"] == pytest.approx(mean)
    assert run.timeline[-1].step == run.steps
    (method,) = methods_of([run])
    assert method.strategy == run.strategy
