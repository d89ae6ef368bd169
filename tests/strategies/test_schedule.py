"""Which classes have a schedule that can be stretched."""

import math
from dataclasses import dataclass, field

import gsplat.strategy
import pytest

from gs_densify.strategies.methods.adaptive import AdaptiveStrategy
from gs_densify.strategies.schedule import can_be_scaled, scaled_steps


class Own:
    def scaled(self, factor: float) -> "Own":
        return self


@dataclass
class Derived:
    refine_every: int = field(default=100, init=False)  # which cannot be given anew


class Bare:
    refine_every = 100


@pytest.mark.parametrize("kind", [AdaptiveStrategy, gsplat.strategy.DefaultStrategy, Own])
def test_gsplats_steps_or_a_method_of_its_own_can_be_scaled(kind: type) -> None:
    assert can_be_scaled(kind)


@pytest.mark.parametrize("kind", [Derived, Bare])
def test_without_both_a_class_cannot(kind: type) -> None:
    assert not can_be_scaled(kind)


def test_a_schedule_without_an_end_keeps_none() -> None:
    scaled = scaled_steps(AdaptiveStrategy(refine_every=100, refine_stop_iter=math.inf), 0.5)
    assert (scaled.refine_every, scaled.refine_stop_iter) == (50, math.inf)
