"""--steps auto: a length that follows from the number of photos."""

import dataclasses
from pathlib import Path

import pytest

from gs_densify.cli.arguments import parse_train_arguments
from gs_densify.config.length import length_remark, with_length
from gs_densify.config.options import TrainConfig
from gs_densify.config.strategy import strategy_for
from gs_densify.errors import ConfigError

AUTO = "--scene garden --strategy default --steps auto"


def asked(flags: str) -> TrainConfig:
    return parse_train_arguments(flags.split())


@pytest.mark.parametrize(
    ("flags", "views", "steps"),
    [
        ("", 30, 15_000),
        ("", 59, 29_500),
        ("", 60, 30_000),
        ("", 255, 30_000),
        ("", 3, 7_000),  # 7,000 photos are rendered at least
        ("--preset fast", 30, 9_000),  # a preset's own length is the most
        ("--preset balanced", 30, 15_000),
        ("--batch-size 4", 30, 3_750),
        ("--batch-size 2", 255, 30_000),
        ("--batch-size 3", 1, 2_334),
        ("--gpus 2", 30, 7_500),  # a view each
    ],
)
def test_photos_are_passed_over_five_hundred_times_at_most(
    flags: str, views: int, steps: int
) -> None:
    config = asked(f"{AUTO} {flags}")
    assert config.steps == "auto"
    found = with_length(config, views)
    assert found == dataclasses.replace(config, steps=steps)
    given = asked(f"{AUTO} {flags} --steps {steps}")
    assert strategy_for(found) == strategy_for(given), "the schedule is scaled as for a number"


def test_steps_that_were_given_stay() -> None:
    config = asked("--scene garden --steps 123")
    assert with_length(config, 1, known=5) is config
    assert length_remark(config, config, 1) is None


def test_what_a_run_began_with_stays() -> None:
    config = asked(AUTO)
    assert with_length(config, 30, known=14_000).steps == 14_000


def test_the_number_and_its_passes_are_said() -> None:
    config = asked(f"{AUTO} --batch-size 2")
    said = length_remark(config, with_length(config, 30), 30)
    assert said == "--steps auto: 7,500 steps, 500 passes over 30 photos"


def test_a_scene_s_own_length_is_the_most() -> None:
    tiny = parse_train_arguments("--scene tiny --strategy default --steps auto".split())
    assert with_length(tiny, 28).steps == 1_000


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--protocol mls-bench", "--steps auto and --protocol mls-bench both say how long"),
        ("--evaluation.steps 0", "--evaluation.steps has 0; it must be at least 1"),
        ("--profile 9 3", "two rising steps from 0 on"),
    ],
)
def test_what_contradicts_it_is_refused(flags: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        asked(f"{AUTO} {flags}")


def test_what_is_known_late_is_refused_then() -> None:
    config = asked(f"{AUTO} --evaluation.steps 9000")
    with pytest.raises(ConfigError, match="a run of 7000 steps"):
        with_length(config, 3)
    config = asked(f"{AUTO} --checkpoint-every 9000")
    with pytest.raises(ConfigError, match="--checkpoint-every is 9000"):
        with_length(config, 3)


def test_a_preset_takes_nothing_back_of_a_file_that_leaves_it_open(tmp_path: Path) -> None:
    file = tmp_path / "own.yml"
    file.write_text("scene: garden\nsteps: auto\n")
    config = asked(f"--config {file} --preset fast")
    assert (config.steps, with_length(config, 200).steps) == ("auto", 9_000)


def test_a_recipe_cannot_leave_it_open(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from dataclasses import dataclass\n"
        "from gs_densify.strategies.base import Strategy\n\n\n"
        "@dataclass\nclass OwnStrategy(Strategy):\n    recipe = {'steps': 'auto'}\n"
    )
    with pytest.raises(ConfigError, match="recipe of OwnStrategy cannot be used"):
        asked(f"--scene garden --strategy {tmp_path}/own.py")
