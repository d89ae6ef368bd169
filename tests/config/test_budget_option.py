"""--budget: how strategies are told, what it refuses, and what counts beside it."""

from pathlib import Path

import pytest

from gs_densify.cli.arguments import parse_train_arguments
from gs_densify.config.file import save_config
from gs_densify.config.options import TrainConfig
from gs_densify.config.strategy import most_gaussians, strategy_for
from gs_densify.errors import ConfigError
from gs_densify.strategies.registry import BUILTIN

HOOK = """
from dataclasses import dataclass
from typing import ClassVar

@dataclass
class CustomStrategy:
    {field}
    def step_post_backward(self): pass
"""


def _parsed(*flags: str) -> TrainConfig:
    return parse_train_arguments(["--scene", "tiny", "--budget", "2500", *flags])


@pytest.mark.parametrize("name", [name for name in BUILTIN if name != "gsplat-default"])
def test_each_is_told_through_what_it_has(name: str) -> None:
    config = _parsed("--strategy", name)
    strategy = strategy_for(config)
    told = {option: getattr(strategy, option, None) for option in ("budget", "cap_max")}
    assert 2500 in told.values()
    is_mini = name == "mini-splatting"
    assert getattr(strategy, "max_gaussians", 2500) == (3000 if is_mini else 2500)
    assert most_gaussians(config, strategy) == (None if is_mini else 2500)
    plain = strategy_for(parse_train_arguments(["--scene", "tiny", "--strategy", name]))
    assert getattr(plain, "budget", 0) == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--strategy gsplat-default", "field budget: int = 0 and keep to it, or use --max-gauss"),
        ("--max-gaussians 2499", "--max-gaussians is 2499, below --budget 2500"),
        ("--strategy.budget 3", "--budget is 2500, but --strategy.budget is 3; leave"),
        ("--strategy.max-gaussians 2600", "but --strategy.max-gaussians is 2600; leave"),
        # The scene's default, said aloud.
        ("--strategy.max_gaussians=3000", "but --strategy.max-gaussians is 3000; leave"),
        ("--strategy mini-splatting --strategy.max-gaussians 9", "at least the budget; set"),
        ("--preset compact --max-gaussians 470000 --budget 500000", "is 470000, below --budget"),
        ("--budget 0", "--budget is 0; it must be at least 1"),
    ],
)
def test_what_contradicts_is_refused_when_arguments_are_parsed(flags: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _parsed(*flags.split())


def test_what_says_the_same_or_allows_more_goes_with_it() -> None:
    for flags in ("--strategy.max-gaussians 2500", "--strategy.budget 2500"):
        assert strategy_for(_parsed(*flags.split())).budget == 2500
    config = _parsed("--max-gaussians", "9000", "--strategy", "default")
    assert most_gaussians(config, strategy_for(config)) == 2500
    mini = _parsed("--strategy", "mini-splatting", "--max-gaussians", "2800")
    assert strategy_for(mini).max_gaussians == most_gaussians(mini, strategy_for(mini)) == 2800


@pytest.mark.parametrize(
    ("field", "limit"),
    [
        ("budget: int = 0", 2500),
        ("max_gaussians: int = 7", 2500),
        ("budget: int = 0\n    may_exceed_budget: ClassVar[bool] = True", None),
        ("size: int = 0", "cannot be told the number to end with"),
    ],
)
def test_a_strategy_of_one_s_own(field: str, limit: int | str | None, tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(HOOK.format(field=field))
    if isinstance(limit, str):
        with pytest.raises(ConfigError, match=limit):
            _parsed("--strategy", str(path))
        return
    config = _parsed("--strategy", str(path))
    strategy = strategy_for(config)
    assert getattr(strategy, field.partition(":")[0]) == 2500
    assert most_gaussians(config, strategy) == limit


def test_a_library_s_configuration_is_checked_too() -> None:
    config = TrainConfig(scene="tiny", budget=2500, strategy_options={"max_gaussians": 9})
    with pytest.raises(ConfigError, match=r"but --strategy\.max-gaussians is 9"):
        strategy_for(config)


@pytest.mark.parametrize("preset", ["compact", "fast", "balanced"])
@pytest.mark.parametrize("budget", ["300000", "2000000"])
def test_it_counts_for_more_than_the_preset_s_limit(
    preset: str, budget: str, tmp_path: Path
) -> None:
    flags = ["--scene", "bonsai", "--preset", preset]
    config = parse_train_arguments([*flags, "--budget", budget])
    assert config.max_gaussians is None
    assert strategy_for(config).max_gaussians == strategy_for(config).budget == int(budget)
    save_config(parse_train_arguments(flags), tmp_path / "plain.yml")
    again = parse_train_arguments(["--config", str(tmp_path / "plain.yml"), "--budget", budget])
    assert again == config, "and of a saved file, which holds the preset's limit"
    save_config(config, tmp_path / "own.yml")
    saved = ["--config", str(tmp_path / "own.yml")]
    assert parse_train_arguments(saved) == config
    assert parse_train_arguments([*saved, "--preset", preset]) == config
    other = parse_train_arguments([*saved, "--preset", "fast", "--strategy", "default"])
    assert (other.budget, other.max_gaussians) == (int(budget), None)
    assert parse_train_arguments([*saved, "--budget", "None"]).budget is None


def test_without_a_budget_a_limit_lowers_the_strategy_s_own() -> None:
    flags = ["--scene", "tiny", "--strategy", "default", "--strategy.budget", "2000"]
    config = parse_train_arguments([*flags, "--max-gaussians", "1500"])
    assert strategy_for(config).budget == 1500
    assert strategy_for(parse_train_arguments(flags)).budget == 2000
