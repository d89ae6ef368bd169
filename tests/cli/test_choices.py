"""The configuration of a run used for another scene, strategy, preset or protocol."""

import re
from itertools import permutations
from pathlib import Path

import pytest
import yaml
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from gs_densify.cli.arguments import parse_train_arguments
from gs_densify.config.file import save_config
from gs_densify.config.strategy import strategy_for, with_fitted_schedule
from gs_densify.errors import ConfigError

SCENES = ("tiny", "garden", "bonsai", "captures/house")
STRATEGIES = ("adaptive", "default", "mcmc", "edc", "mini-splatting")
MLS_BENCH = ["--protocol", "mls-bench"]
WAYS = (  # presets and protocols, of which some pairs exclude each other
    *([], ["--preset", "fast"], ["--preset", "compact"]),
    *(["--protocol", "inria"], MLS_BENCH, ["--protocol", "gsplat"]),
)
ASKED = (
    *(["--seed", "7"], ["--log-every", "9"], ["--init.opacity", "0.3"], ["--lr.shN", "3e-3"]),
    *(["--render.near-plane", "0.3"], ["--evaluation.pictures", "2"], ["--data.masks", "none"]),
    *(["--render.background", "random"], ["--batch-size", "2"], ["--schedule-factor", "0.5"]),
)
choices = st.tuples(*map(st.sampled_from, (SCENES, STRATEGIES, WAYS)))


def flags_of(scene: str, strategy: str, way: list[str]) -> list[str]:
    """A command line that also says what is not made otherwise."""
    made = ["--preset", "None", "--protocol", "default", *way]
    return ["--scene", scene, "--strategy", strategy, *made]


@given(choices, choices, st.lists(st.sampled_from(ASKED), unique_by=lambda pair: pair[0]))
@settings(max_examples=25, phases=[Phase.explicit, Phase.generate])
def test_a_saved_file_gives_another_run_what_was_asked_for_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory,
    first: tuple[str, str, list[str]],
    second: tuple[str, str, list[str]],
    asked: list[list[str]],
) -> None:
    """As if the same had been asked for on the command line of the other run."""
    extra = [part for pair in asked for part in pair]
    path = tmp_path_factory.mktemp("saved") / "config.yml"
    save_config(parse_train_arguments([*flags_of(*first), *extra]), path)
    given_file = ["--config", str(path), *flags_of(*second)]
    try:
        found = parse_train_arguments(given_file)
    except ConfigError as error:  # of a protocol or preset: it does not count for less than a file
        taken_back = re.search(r"makes (\S+) .* but ", str(error))
        assert taken_back is not None and first[2] != second[2]
        assert f"--{taken_back[1].replace('_', '-')}" in extra
        return
    assert found == parse_train_arguments([*flags_of(*second), *extra])


def saved(path: Path, *flags: str, is_old: bool = False) -> list[str]:
    """The options that name the saved file of a command line."""
    config = parse_train_arguments(flags)
    save_config(with_fitted_schedule(config) if is_old else config, path)
    if is_old:
        path.write_text(path.read_text().replace("format: 2\n", ""))
    return ["--config", str(path)]


@pytest.mark.parametrize("is_old", [False, True])
def test_the_tiny_scene_s_settings_stay_with_it(
    is_old: bool, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    flags = saved(tmp_path / "c.yml", "--scene", "tiny", "--seed", "3", is_old=is_old)
    config = parse_train_arguments([*flags, "--scene", "bonsai"])
    assert (config.steps, config.schedule_factor, config.seed) == (30_000, None, 3)
    assert config.strategy_options["max_gaussians"] == 1_000_000
    said = capsys.readouterr().err
    assert said == (
        f"gs-train: --scene bonsai: of {tmp_path / 'c.yml'} only what did not come with scene tiny"
        " is taken over: seed\n"
    )
    assert parse_train_arguments(flags).steps == 1000, "and the same scene has all of it"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("is_old", [False, True])
@pytest.mark.parametrize(("before", "after"), [*permutations(STRATEGIES[:4], 2)])
def test_another_strategy_is_trained_as_it_is_meant_to_be(
    before: str, after: str, is_old: bool, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Also where it has an option of the same name, which was asked for of the other one."""
    own = ["--scene", "garden", "--log-every", "7", "--strategy", before]
    option = ["--strategy.refine-every", "55"]
    flags = saved(tmp_path / "c.yml", *own, *option, is_old=is_old)
    expected = parse_train_arguments([*own[:-1], after])
    assert parse_train_arguments([*flags, "--strategy", after]) == expected
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.endswith(f"strategy {before} is taken over: log_every\n")


def test_options_of_the_other_strategy_in_a_file_by_hand_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "mine.yml"
    options = {"name": "adaptive", "observations": 9, "focus": 2.0}
    path.write_text(yaml.safe_dump({"scene": "garden", "lr": {"means": 1e-5}, "strategy": options}))
    config = parse_train_arguments(["--config", str(path), "--strategy", "mcmc"])
    assert (config.strategy, config.lr.means) == ("mcmc", 1e-5)
    assert config.init.opacity == 0.5, "the recipe of mcmc"
    assert capsys.readouterr().err == (
        f"gs-train: --strategy mcmc: options of strategy adaptive in {path} are left out:"
        " focus, observations\n"
    )
    same = parse_train_arguments(["--config", str(path), "--strategy", "adaptive"])
    assert same.strategy_options["observations"] == 9
    path.write_text("scene: garden\nstrategy: {grow_grad2d: 0.5}\n")
    unnamed = parse_train_arguments(["--config", str(path), "--strategy", "default"])
    assert unnamed.strategy_options["grow_grad2d"] == 0.5
    assert capsys.readouterr().err == "", "the file does not say whose it is"


def test_options_of_a_strategy_stay_with_the_scene_or_were_asked_for(tmp_path: Path) -> None:
    own = ["--scene", "tiny", "--strategy", "adaptive", "--strategy.focus", "2"]
    config = parse_train_arguments([*saved(tmp_path / "c.yml", *own), "--scene", "garden"])
    assert config == parse_train_arguments([*own, "--scene", "garden"])


def test_the_original_of_a_strategy_s_file_is_the_same_strategy(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """A run keeps a copy; the file that was edited since is used with the run's options."""
    text = (
        "from dataclasses import dataclass\n"
        "from gs_densify.strategies.base import Strategy\n\n\n"
        "@dataclass\nclass CustomStrategy(Strategy):\n    share: float = 0.5\n"
    )
    for folder in ("run", "mine"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "plain.py").write_text(text)
    mine, path = tmp_path / "mine/plain.py", tmp_path / "run/config.yml"
    flags = ["--scene", "garden", "--strategy", str(mine), "--strategy.share", "0.25"]
    save_config(parse_train_arguments(flags), path)
    path.write_text(path.read_text().replace(str(mine), "plain.py"))
    again = parse_train_arguments(["--config", str(path), "--strategy", str(mine)])
    assert (again.strategy, again.strategy_options) == (str(mine), {"share": 0.25})
    assert capsys.readouterr().err == ""


def test_a_line_that_was_put_into_a_saved_file_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "c.yml"
    flags = saved(path, "--scene", "tiny")
    path.write_text(re.sub(r"(?m)^steps: 1000$", "steps: 640", path.read_text()))
    assert parse_train_arguments([*flags, "--scene", "garden"]).steps == 640
    values = yaml.safe_load(path.read_text())
    del values["lr"]["means"], values["strategy"]["focus"]
    path.write_text(yaml.safe_dump(values))
    there = parse_train_arguments([*flags, "--scene", "garden"])
    assert there.lr == parse_train_arguments(["--scene", "garden"]).lr
    assert parse_train_arguments(flags).lr.means == 1.6e-3, "the scene's, as without a file"


def test_a_shorter_preset_takes_the_place_of_the_saved_one(tmp_path: Path) -> None:
    flags = saved(tmp_path / "c.yml", "--scene", "garden", "--preset", "balanced", "--seed", "5")
    fast = parse_train_arguments([*flags, "--preset", "fast"])
    assert fast == parse_train_arguments(["--scene", "garden", "--preset", "fast", "--seed", "5"])


def test_an_old_file_s_schedule_that_fits_follows_the_steps_and_another_stays(
    tmp_path: Path,
) -> None:
    path = tmp_path / "c.yml"
    own = ["--scene", "garden", "--strategy", "default", "--preset", "fast"]
    flags = saved(path, *own, is_old=True)
    assert "\nschedule_factor: 0.3\n" in path.read_text()
    assert strategy_for(parse_train_arguments(flags)).refine_stop_iter == 4500
    longer = parse_train_arguments([*flags, "--steps", "15000"])
    assert strategy_for(longer).refine_stop_iter == 7500
    path.write_text(path.read_text().replace("schedule_factor: 0.3", "schedule_factor: 1.0"))
    for more in ([], ["--steps", "15000"]):
        cut = parse_train_arguments([*flags, *more])
        assert strategy_for(cut).refine_stop_iter == 15_000


def test_what_is_wrong_in_a_saved_file_is_said_of_it(tmp_path: Path) -> None:
    path = tmp_path / "c.yml"
    flags = saved(path, "--scene", "tiny")
    path.write_text(path.read_text().replace("seed: 42", "seed: some"))
    with pytest.raises(ConfigError, match=r"c\.yml: --seed is"):
        parse_train_arguments([*flags, "--scene", "garden"])
