"""What the number of a step decides."""

import pytest

from gs_densify.config.options import InitOptions, RenderOptions, TrainConfig
from gs_densify.strategies.adapter import StrategyAdapter
from gs_densify.strategies.base import Strategy
from gs_densify.training.resolution import ResolutionSchedule
from gs_densify.training.schedule import Schedule


@pytest.mark.parametrize(
    ("first", "highest", "degrees"),
    [(0, 3, [0, 0, 1, 1, 2, 2, 3, 3, 3]), (2, 3, [2] * 6 + [3] * 3), (3, 1, [1] * 9)],
)
def test_a_model_that_is_there_keeps_its_sh_degree(
    first: int, highest: int, degrees: list[int]
) -> None:
    config = TrainConfig(
        scene="tiny",
        steps=9,
        init=InitOptions(sh_degree=highest),
        render=RenderOptions(sh_degree_every=2),
    )
    adapter = StrategyAdapter("none", Strategy())
    schedule = Schedule(config, adapter, ResolutionSchedule(), first_sh_degree=first)
    assert [schedule.sh_degree(step) for step in range(9)] == degrees
