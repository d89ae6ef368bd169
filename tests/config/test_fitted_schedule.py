"""How a strategy's schedule follows the steps of a run."""

import dataclasses
from pathlib import Path

import pytest

from gs_densify.cli.arguments import parse_train_arguments
from gs_densify.config.strategy import schedule_remark, strategy_for, with_fitted_schedule
from gs_densify.errors import ConfigError
from gs_densify.results import load_results
from gs_densify.runs.train import train

STRATEGIES = ("adaptive", "default", "absgs", "new-split", "mcmc", "taming", "edc")
PLAIN = """
from dataclasses import dataclass
from gs_densify.strategies.base import Strategy


@dataclass
class CustomStrategy(Strategy):
    share: float = 0.5
"""
OWN_LENGTH = """
from dataclasses import dataclass
from gs_densify.strategies.methods.default import DefaultStrategy


@dataclass
class CustomStrategy(DefaultStrategy):
    recipe = {"steps": 15_000}
    refine_stop_iter: int = 7_500
"""


def config_of(*flags: str):
    return parse_train_arguments(flags)


@pytest.mark.parametrize("name", STRATEGIES)
def test_steps_alone_scale_the_schedule_and_a_factor_counts_for_more(name: str) -> None:
    flags = ["--scene", "garden", "--strategy", name]
    whole = config_of(*flags)
    assert strategy_for(whole) == strategy_for(dataclasses.replace(whole, schedule_factor=1.0))
    shorter = config_of(*flags, "--steps", "7500")
    assert shorter.schedule_factor is None, "nobody asked for one"
    asked = config_of(*flags, "--steps", "7500", "--schedule-factor", "0.25")
    assert strategy_for(shorter) == strategy_for(asked) != strategy_for(whole)
    cut = config_of(*flags, "--steps", "7500", "--schedule-factor", "1")
    assert strategy_for(cut) == strategy_for(whole)
    assert strategy_for(config_of(*flags, "--steps", "60000")) == strategy_for(
        dataclasses.replace(whole, schedule_factor=2.0)
    )


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize(
    ("flags", "steps", "factor"),
    [
        ("--scene tiny", 1000, 1 / 30),
        ("--scene tiny --preset fast", 300, 1 / 30 * 0.3),
        ("--scene tiny --preset balanced", 600, 1 / 30 * 0.6),
        ("--scene garden --preset fast", 9_000, 0.3),
        ("--scene garden --preset balanced", 18_000, 0.6),
        ("--scene garden --preset compact", 30_000, 1.0),
        ("--scene garden --protocol mls-bench", 30_000, 1.0),
    ],
)
def test_scenes_presets_and_protocols_mean_what_they_meant(
    flags: str, steps: int, factor: float, name: str
) -> None:
    """The factors that they set before schedules followed the steps."""
    config = config_of(*flags.split(), "--strategy", name)
    assert config.steps == steps
    fitted = with_fitted_schedule(config)
    assert fitted.schedule_factor == pytest.approx(factor, rel=1e-15)
    before = dataclasses.replace(config, schedule_factor=factor)
    assert strategy_for(config) == strategy_for(before)
    every = config.render.sh_degree_every
    assert round(every * (fitted.schedule_factor or 0)) == round(every * factor)


def test_a_schedule_that_cannot_be_scaled_stays_and_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(PLAIN)
    flags = ["--scene", "garden", "--strategy", str(tmp_path / "plain.py")]
    assert schedule_remark(config_of(*flags)) is None
    shorter = config_of(*flags, "--steps", "700")
    assert with_fitted_schedule(shorter).schedule_factor == 1.0
    said = schedule_remark(shorter)
    assert said is not None and "neither scaled(factor) nor refine_every" in said
    assert strategy_for(shorter) == strategy_for(config_of(*flags))
    with pytest.raises(ConfigError, match=r"--schedule-factor 0\.5: strategy"):
        strategy_for(config_of(*flags, "--schedule-factor", "0.5"))


def test_a_strategy_whose_recipe_has_its_own_length_is_scaled_from_that(tmp_path: Path) -> None:
    (tmp_path / "short.py").write_text(OWN_LENGTH)
    flags = ["--scene", "garden", "--strategy", str(tmp_path / "short.py")]
    own = config_of(*flags)
    assert (own.steps, strategy_for(own).refine_stop_iter) == (15_000, 7_500)
    assert schedule_remark(own) is None
    fast = config_of(*flags, "--preset", "fast")
    assert (fast.steps, strategy_for(fast).refine_stop_iter) == (4_500, 2_250)
    assert strategy_for(config_of(*flags, "--steps", "30000")).refine_stop_iter == 15_000
    frozen = config_of(*flags, "--protocol", "mls-bench")
    assert (frozen.steps, strategy_for(frozen).refine_stop_iter) == (30_000, 7_500), (
        "the protocol takes no recipe, and trains a strategy as it is"
    )


@pytest.mark.parametrize(
    ("flags", "is_said"),
    [
        ("--scene garden", False),
        ("--scene garden --steps 30000", False),
        ("--scene garden --steps 7000", True),
        ("--scene garden --steps 7000 --schedule-factor 1", False),
        ("--scene tiny", False),
        ("--scene tiny --steps 300", True),
        ("--scene tiny --preset fast", False),
        ("--scene garden --preset fast --steps 12000", True),
        ("--scene garden --protocol mls-bench --steps 7000 --evaluation.steps", True),
    ],
)
def test_it_is_said_where_steps_were_asked_for_and_no_factor(flags: str, is_said: bool) -> None:
    said = schedule_remark(config_of(*flags.split()))
    assert (said is not None) == is_said
    assert said is None or "made for 30,000 steps, is scaled to" in said


def test_the_sh_degree_and_the_strategy_follow_and_a_run_says_so_once(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    flags = "--scene tiny --strategy default --evaluation.lpips --device cpu --log-every 30".split()
    runs = {}
    for name, more in (
        ("fitted", ["--steps", "90"]),
        ("asked", ["--steps", "90", "--schedule-factor", "0.003"]),
        ("cut", ["--steps", "90", "--schedule-factor", "1"]),
    ):
        out = tmp_path / name
        runs[name], _ = train(config_of(*flags, *more, "--out", str(out)), ["test"])
        said = "the schedule of strategy 'default', made for 30,000 steps, is scaled to 90"
        assert capsys.readouterr().err.count(said) == (name == "fitted")
    assert runs["fitted"].scores == runs["asked"].scores != runs["cut"].scores
    assert runs["fitted"].counts == runs["asked"].counts
    assert runs["cut"].counts.final == 640, "what refines from step 500 on, cut off at 90, does not"
    assert runs["fitted"].counts.final != 640
    stored = load_results(tmp_path / "fitted/results.json").config
    assert (stored["steps"], stored["schedule_factor"]) == (90, None)
