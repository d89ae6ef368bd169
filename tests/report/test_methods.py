"""Which runs are one method's, how methods are called, and what is refused."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from made_runs import CODE, made, report_on, runs_in

from gs_densify.errors import ResultError
from gs_densify.report.methods import methods_of, training_options
from gs_densify.results import CodeRecord


def labels(folder: Path) -> list[str]:
    return [method.label for method in methods_of(runs_in(folder))]


def refusal(folder: Path, **options: Any) -> str:
    with pytest.raises(ResultError) as caught:
        methods_of(runs_in(folder), **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_seeds_and_scenes_are_one_method_s(tmp_path: Path) -> None:
    for scene in ("garden", "room"):
        for seed in (2, 0, 1):
            made(tmp_path, scene, seed=seed)
    (method,) = methods_of(runs_in(tmp_path))
    assert (method.label, method.scenes) == ("adc", ["garden", "room"])
    assert [run.seed for run in method.on("room")] == [0, 1, 2]


def test_variants_of_options_are_methods_of_their_own(tmp_path: Path) -> None:
    for i, weight in enumerate((0.0, 0.5)):
        for seed in (0, 1):
            config = {"strategy": {"name": "adc", "edge": weight, "other": i}}
            made(tmp_path, seed=seed, config=config, at=f"{i}_{seed}")
    methods = methods_of(runs_in(tmp_path))
    assert [method.label for method in methods] == ["adc (edge=0.0)", "adc (edge=0.5)"]
    assert [len(method.runs) for method in methods] == [2, 2]
    assert [method.options["strategy.edge"] for method in methods] == [0.0, 0.5]


def test_labels_have_the_fewest_options_that_tell_variants_apart(tmp_path: Path) -> None:
    variants = [{"a": 1, "b": 1, "c": 1}, {"a": 1, "b": 2, "c": 2}, {"a": 2, "b": 2, "c": 3}]
    for i, options in enumerate(variants):
        config = {"strategy": {"name": "adc", **options}, "lr": {"means": i}}
        made(tmp_path, config=config, at=str(i))
    assert labels(tmp_path) == ["adc (c=1)", "adc (c=2)", "adc (c=3)"]


def test_a_preset_names_a_variant_before_what_follows_from_it(tmp_path: Path) -> None:
    for i, (preset, steps) in enumerate(((None, 30_000), ("fast", 9_000))):
        made(tmp_path, config={"preset": preset, "steps": steps}, at=str(i))
    assert labels(tmp_path) == ["adc", "adc (fast)"]


def test_options_that_follow_from_the_scene_make_no_variants(tmp_path: Path) -> None:
    made(tmp_path, "garden", config={"budget": 3})
    made(tmp_path, "room", config={"budget": 5})
    assert labels(tmp_path) == ["adc"]


def test_a_length_that_is_left_open_is_the_one_that_was_found(tmp_path: Path) -> None:
    for i, steps in enumerate(("auto", 6_000)):
        config = {"steps": steps, "schedule_factor": None}
        made(tmp_path, config=config, seed=i, changed={"steps": 6_000})
    assert labels(tmp_path) == ["adc"]
    for run in runs_in(tmp_path):
        options = training_options(run)
        assert (options["steps"], options["schedule_factor"]) == (6_000, 0.2)


def test_a_given_label_names_the_method(tmp_path: Path) -> None:
    made(tmp_path, label="mine", config={"steps": 5})
    made(tmp_path, "room", label="mine", config={"steps": 7})
    made(tmp_path)
    assert labels(tmp_path) == ["adc", "mine"]


def test_a_strategy_s_file_is_called_by_its_name(tmp_path: Path) -> None:
    made(tmp_path, strategy="some/where/mine.py:Mine", at="x")
    assert labels(tmp_path) == ["mine.py:Mine"]


@pytest.mark.parametrize(
    "name",
    [
        *("seed", "out", "data_root", "device", "evaluation", "protocol", "log_every", "profile"),
        *("export", "log_to", "data.workers", "data.image_budget", "checkpoint_minutes"),
    ],
)
def test_options_that_change_no_number_are_no_difference(name: str, tmp_path: Path) -> None:
    group, _, last = name.rpartition(".")
    for seed in (0, 1):
        value = {last: f"x{seed}"}
        made(tmp_path, seed=seed, config={group: value} if group else value)
    assert labels(tmp_path) == ["adc"]


def test_an_option_of_a_later_release_is_what_was_done_before(tmp_path: Path) -> None:
    """At its default it is no difference, at another value it is."""
    made(tmp_path, seed=0)
    made(tmp_path, seed=1, config={"modules": [], "budget": None, "loss": {"theirs": 0.0}})
    assert labels(tmp_path) == ["adc"]
    made(tmp_path, seed=2, config={"budget": 7})
    assert labels(tmp_path) == ["adc", "adc (budget=7)"]
    made(tmp_path, seed=3, config={"loss": {"theirs": 0.5}})
    assert labels(tmp_path)[2].endswith("loss.theirs=0.5)")


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
    made(tmp_path, label="x", config=plain, conditions={"near_plane": 0.04})
    earlier = plain | {"schedule_factor": factor, "render": {"near_plane": near_plane}}
    conditions = {"near_plane": near_plane}
    made(tmp_path, label="x", seed=1, config=earlier, conditions=conditions)
    if differs:
        assert f"differ in more than the seed: {differs};" in refusal(tmp_path)
    else:
        assert labels(tmp_path) == ["x"]


def test_what_a_run_found_has_more_digits_than_were_meant(tmp_path: Path) -> None:
    made(tmp_path, config={"steps": 9_000, "schedule_factor": 0.3})
    made(tmp_path, seed=1, config={"steps": 9_000, "schedule_factor": 0.1 + 0.2})
    assert labels(tmp_path) == ["adc"]
    made(tmp_path, seed=2, config={"steps": 9_000, "schedule_factor": 0.3001})
    assert len(labels(tmp_path)) == 2


def test_worlds_of_before_they_had_names_are_the_same_worlds(tmp_path: Path) -> None:
    for seed, world in enumerate((True, "cameras")):
        made(tmp_path, label="x", seed=seed, config={"data": {"normalize": world}})
    assert labels(tmp_path) == ["x"]
    made(tmp_path, label="x", seed=2, config={"data": {"normalize": False}})
    assert "data.normalize" in refusal(tmp_path)


def test_seeds_under_one_label_differ_in_nothing_else(tmp_path: Path) -> None:
    one = made(tmp_path, label="x", config={"lr": {"means": 1.0}})
    two = made(tmp_path, label="x", seed=1, config={"lr": {"means": 2.0}})
    said = refusal(tmp_path)
    assert said.startswith(f"{one} and {two} differ in more than the seed: lr.means;")
    assert "lr.means" in refusal(tmp_path, allow=("code", "data", "protocols"))


def test_a_run_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    one, two = made(tmp_path, at="1"), made(tmp_path, at="2")
    assert refusal(tmp_path) == (
        f"{one} and {two} are both of scene garden, 'adc', seed 0; give one of them"
    )


def test_two_strategies_with_one_name_are_refused(tmp_path: Path) -> None:
    one = made(tmp_path, strategy="a/mine.py", at="1")
    two = made(tmp_path, strategy="b/mine.py", at="2")
    assert f"{one} and {two} are both called 'mine.py'" in refusal(tmp_path)
    made(tmp_path / "other", label="adc", at="1")
    made(tmp_path / "other", seed=1, at="2")
    assert (
        "both called 'adc', but differ in strategy, or in having a label of their own"
        in refusal(tmp_path / "other")
    )


def _version(version: str) -> dict[str, Any]:
    return {"code": None, "conditions": {"versions": {"gs_densify": version}}}


OTHER_STRATEGY = dataclasses.replace(CODE, strategy="s2")
OTHER_PACKAGE = dataclasses.replace(CODE, package="p2", commit="c2")


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ([{}, {"code": OTHER_STRATEGY}], "the strategy's source differs (s1 | s2)"),
        ([{}, {"code": OTHER_PACKAGE}], "gs_densify's source differs (c1 | c2)"),
        ([_version("1.0"), _version("1.1")], "gs_densify's version differs (1.0 | 1.1)"),
        ([{"code": None}, {}, {"code": OTHER_PACKAGE}], "gs_densify's source differs (c1 | c2)"),
        ([{}, {"code": None}, {"code": OTHER_PACKAGE}], "gs_densify's source differs (c1 | c2)"),
    ],
)
def test_runs_of_one_method_that_different_code_has_made_are_refused(
    runs: list[dict[str, Any]], said: str, tmp_path: Path
) -> None:
    for seed, options in enumerate(runs):
        made(tmp_path, seed=seed, **options)
    found = refusal(tmp_path)
    assert f"are both of 'adc', but {said}; train one of them again" in found
    (method,) = methods_of(runs_in(tmp_path), allow=("code",))
    assert len(method.runs) == len(runs)
    assert f"NOT THE SAME CODE: adc: {said}" in report_on(tmp_path, allow=("code",)).notes


def test_another_scene_s_runs_must_be_of_the_same_code_too(tmp_path: Path) -> None:
    made(tmp_path, "garden")
    made(tmp_path, "room", code=OTHER_PACKAGE)
    assert "garden_adc_0" in (said := refusal(tmp_path)) and "room_adc_0" in said


def test_a_commit_says_which_code_it_was_unless_files_differ_from_it(tmp_path: Path) -> None:
    same = CodeRecord(strategy="other", package="p1", commit="other")
    made(tmp_path, seed=0)
    made(tmp_path, seed=0, strategy="b", code=same)
    for strategy, package in (("c", "p1"), ("d", "p2")):
        code = CodeRecord(strategy="x", package=package, commit="c1+")
        made(tmp_path, strategy=strategy, code=code)
    codes = {method.label: method.codes for method in methods_of(runs_in(tmp_path))}
    assert codes == {"adc": ["c1"], "b": ["other"], "c": ["c1+, p1"], "d": ["c1+, p2"]}


def test_a_model_without_options_has_none(tmp_path: Path) -> None:
    """As a PLY of another trainer, which gs-eval scored."""
    made(tmp_path, config={"steps": 7})
    (run,) = runs_in(tmp_path)
    assert training_options(run)["steps"] == 7
    assert training_options(dataclasses.replace(run, config={})) == {}
