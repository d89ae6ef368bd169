"""The ends of what options may be, and which photos a protocol takes."""

import math
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gs_densify.config.layers import evaluation_settings
from gs_densify.config.options import (
    DataOptions,
    EvaluationOptions,
    InitOptions,
    LearningRates,
    LossOptions,
    TrainConfig,
)
from gs_densify.errors import ConfigError


@pytest.mark.parametrize(
    "options",
    [
        {"loss": LossOptions(ssim=0.0)},
        {"loss": LossOptions(ssim=1.0)},
        {"init": InitOptions(scale=1e-6, sh_degree=0)},
        {"batch_size": 9, "steps": 1},
        {"evaluation": EvaluationOptions(steps=(1, 100)), "steps": 100},
        {"data": DataOptions(image_budget=math.inf)},
    ],
)
def test_options_may_be_at_their_ends(options: dict[str, Any]) -> None:
    TrainConfig(scene="tiny", **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"loss": LossOptions(ssim=-0.01)}, r"--loss.ssim is -0.01; .* between 0.0 and 1.0"),
        ({"loss": LossOptions(ssim=1.01)}, r"--loss.ssim is 1.01; .* between 0.0 and 1.0"),
        ({"init": InitOptions(scale=0.0)}, "--init.scale is 0.0"),
        ({"init": InitOptions(sh_degree=4)}, "--init.sh-degree is 4; .* between 0 and 3"),
        ({"lr": LearningRates(means=math.inf)}, "--lr.means is inf; it must be finite"),
        ({"init": InitOptions(scale=math.inf)}, "--init.scale is inf; it must be finite"),
        ({"schedule_factor": math.nan}, "--schedule-factor is nan; it must be finite"),
        ({"data": DataOptions(image_budget=math.nan)}, "--data.image-budget is nan; .* at least 0"),
        ({"batch_size": 10}, "--batch-size is 10; .* between 1 and 9"),
        (
            {"evaluation": EvaluationOptions(steps=(50, 101, 102)), "steps": 100},
            "--evaluation.steps has 101; a run of 100 steps",
        ),
    ],
)
def test_options_beyond_their_ends_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        TrainConfig(scene="tiny", **options)


def test_a_protocol_names_its_photos_where_they_are_smaller_than_the_originals() -> None:
    def source(scene: str, downscale: int | None) -> str | None:
        return evaluation_settings("gsplat", scene, downscale).get("data.image_source")

    assert source("garden", None) == source("a/folder", 2) == "resized"
    assert source("a/folder", None) is source("garden", 1) is None


@given(
    steps=st.integers(1, 60),
    every=st.none() | st.integers(1, 60),
    scored=st.lists(st.integers(1, 60), max_size=4, unique=True),
    start=st.integers(0, 61),
)
def test_stops_are_checkpoints_and_scored_steps_in_order(
    steps: int, every: int | None, scored: list[int], start: int
) -> None:
    config = TrainConfig(
        scene="tiny",
        steps=steps,
        checkpoint_every=every and min(every, steps),
        evaluation=EvaluationOptions(steps=tuple(step for step in scored if step <= steps)),
    )
    wanted = {*config.scored_steps, steps}
    if config.checkpoint_every:
        wanted |= {step for step in range(1, steps) if step % config.checkpoint_every == 0}
    assert list(config.stops_from(start)) == sorted(step for step in wanted if step >= start)


def test_a_checkpoint_a_step_is_no_list_of_all_steps() -> None:
    config = TrainConfig(scene="tiny", steps=10**15, checkpoint_every=1, profile=(7, 8))
    assert list(islice(config.stops_from(7), 3)) == [7, 8, 9]
