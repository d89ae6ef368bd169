"""Study files: what they mean, and that whatever else stands there is refused in one line."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gs_densify.bench.file import read_study, save_study
from gs_densify.bench.study import KEYS, Overrides, Study, parse_study, to_mapping, with_overrides
from gs_densify.bench.values import count_of, seconds_of, values_of
from gs_densify.errors import ConfigError

FULL = """
scenes: {garden: {downscale: 4}, mine: {scene: data/room}}
methods:
  adaptive:
  mcmc: {seeds: [42, 1]}
  mine: {strategy: my_strategy.py, preset: fast, options: {strategy.share: 0.2}}
seeds: [3]
presets: [compact]
budget: 1.5M
options: {steps: 100, evaluation: {lpips: []}}
changes:
  no edges: {strategy.edge-weight: 0}
sweeps:
  strategy.focus: [0, 1]
  strategy.share: {from: 0.01, to: 1, count: 3, scale: log}
retries: 2
timeout: 1h30m
"""


def parse(text: str, folder: Path = Path("/studies")) -> Study:
    return parse_study(yaml.safe_load(text), "study.yml", folder)


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_full_study_means_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "data/room").mkdir(parents=True)
    study = parse(FULL, tmp_path)
    assert [(one.label, one.scene, one.options) for one in study.scenes] == [
        ("garden", "garden", {"downscale": 4}),
        ("mine", str(tmp_path / "data/room"), {}),
    ]
    assert [(one.label, one.preset, one.seeds) for one in study.methods] == [
        ("adaptive", None, None),
        ("mcmc", None, (42, 1)),
        ("mine", "fast", None),
    ]
    assert study.methods[2].strategy == str(tmp_path / "my_strategy.py")
    assert study.options == {"steps": 100, "evaluation.lpips": []}
    assert (study.seeds, study.presets, study.budget) == ((3,), ("compact",), 1_500_000)
    assert (study.retries, study.timeout) == (2, 5400.0)
    assert study.changes[0].options == {"strategy.edge_weight": 0}
    assert [one.label for one in study.sweeps] == [
        *("strategy.focus=0", "strategy.focus=1"),
        *("strategy.share=0.01", "strategy.share=0.1", "strategy.share=1.0"),
    ]


def test_a_saved_study_is_the_same_study(tmp_path: Path) -> None:
    study = with_overrides(parse(FULL), Overrides(options={"steps": 7}), Path())
    save_study(study, tmp_path / "study.yml")
    again = to_mapping(read_study(tmp_path / "study.yml"))
    assert again == to_mapping(study)
    assert again["methods"]["mine"]["options"] == {"strategy.share": 0.2, "steps": 7}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sceness: [tiny]", "study.yml: unknown key 'sceness'; did you mean scenes?"),
        ("methods: {mine: {seed: 3}}", "methods: mine: unknown key 'seed'; known: strategy"),
        ("methods: [mcmc, mcmc]", "methods: 'mcmc' is there twice"),
        ("methods: {a b: {strategy: mcmc}, a_b: {strategy: edc}}", "'a_b' is there beside 'a b'"),
        ("scenes: tiny", "scenes: 'tiny' is no list"),
        ("seeds: [1, 1]", "seeds: 1 is there twice"),
        ("seeds: [true]", "seeds: True"),
        ("presets: [slow]", "presets: 'slow'; known: quality"),
        ("budget: 0", "budget: 0 is no number of Gaussians"),
        ("options: {seed: 3}", "options: 'seed' is set by the study's 'seeds'"),
        ("options: {strategy: mcmc}", "options: 'strategy' is set by the study's 'methods'"),
        ("options: {help: true}", "options: 'help' is set by gs-bench itself"),
        ("changes: {nothing: {}}", "changes: nothing: changes nothing"),
        ("sweeps: {steps: 3}", "sweeps: steps: 3 is neither a list of values nor a range"),
        ("sweeps: {lr.means: {from: 0, to: 1, count: 2, scale: log}}", "numbers above 0"),
        ("sweeps: {steps: {from: 0, to: 1}}", "a range without 'count'"),
        ("retries: -1", "retries: -1"),
        ("timeout: soon", "timeout: 'soon' is no duration"),
        ("[1, 2]", "study.yml: holds no 'key: value' lines"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, said: str) -> None:
    assert said in refused(text)


def test_a_key_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    """YAML itself would take the last of two methods with one label."""
    path = tmp_path / "study.yml"
    path.write_text("methods:\n  mine: {strategy: mcmc}\n  mine: {strategy: edc}\n")
    with pytest.raises(ConfigError, match="'mine' is there twice"):
        read_study(path)
    with pytest.raises(ConfigError, match="there is no such file"):
        read_study(tmp_path / "other.yml")


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
_KEYS = st.sampled_from([*KEYS, "strategy", "options", "from", "to", "count", "tiny"]) | _SCALARS
_TREES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3)
)


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(KEYS), _TREES, max_size=4) | _TREES)
def test_any_values_are_a_study_or_an_error_of_one_line(values: Any) -> None:
    try:
        study = parse_study(values, "study.yml", Path("/studies"))
    except ConfigError as error:
        assert str(error).startswith("study.yml: ")
        assert len(str(error).splitlines()) == 1
    else:
        assert set(values) <= set(KEYS)
        assert to_mapping(parse_study(to_mapping(study), "again", Path("/"))) == to_mapping(study)


def test_flags_count_for_more_than_the_file() -> None:
    study = parse(FULL)
    flags = Overrides(
        scenes=("garden", "tiny"),
        methods=("mcmc", "edc"),
        seeds=(5,),
        presets=("fast",),
        budget="2k",
        options={"steps": 9},
        retries=0,
        timeout="90s",
    )
    chosen = with_overrides(study, flags, Path())
    assert [one.label for one in chosen.scenes] == ["garden", "tiny"]
    assert chosen.scenes[0].options == {"downscale": 4}
    assert [(one.label, one.seeds) for one in chosen.methods] == [("mcmc", None), ("edc", None)]
    assert (chosen.seeds, chosen.presets, chosen.budget) == ((5,), ("fast",), 2000)
    assert (chosen.retries, chosen.timeout, chosen.over_options) == (0, 90.0, {"steps": 9})
    assert with_overrides(study, Overrides(), Path()) == study


@given(st.integers(1, 10**9))
def test_numbers_and_durations_are_read_as_written(number: int) -> None:
    assert count_of(number, "x") == count_of(str(number), "x") == number
    assert count_of(f"{number}k", "x") == 1000 * number
    assert seconds_of(f"{number}m", "x") == 60 * seconds_of(number, "x")


def test_ranges_have_both_ends() -> None:
    assert values_of({"from": 0, "to": 4, "count": 5}, "x") == [0, 1, 2, 3, 4]
    assert values_of({"from": 0, "to": 1, "count": 3}, "x") == [0.0, 0.5, 1.0]
    assert values_of({"from": 1e-4, "to": 1e-2, "count": 3, "scale": "log"}, "x") == [
        *(1e-4, 1e-3, 1e-2),
    ]
