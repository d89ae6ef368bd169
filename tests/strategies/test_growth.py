"""Growth to a budget: which Gaussians grow, and how many at each refinement."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from splats_example import trained

from gs_densify.model.gaussians import Gaussians
from gs_densify.strategies import growth, schedule
from gs_densify.strategies.methods.absgs import AbsGSStrategy
from gs_densify.strategies.methods.default import DefaultStrategy
from gs_densify.strategies.methods.new_split import NewSplitStrategy


def test_the_highest_scores_grow_and_doomed_ones_count_twice() -> None:
    score = torch.tensor([0.1, 0.9, 0.5, 0.9, 0.0])
    none = torch.zeros(5, dtype=torch.bool)
    assert growth.highest(score, none, 3).tolist() == [False, True, True, True, False]
    assert growth.highest(score, none, 1).tolist() == [False, True, False, False, False]
    assert not growth.highest(score, none, 0).any()
    assert growth.highest(score, none, 99).all()
    doomed = torch.tensor([False, True, False, False, False])
    assert growth.highest(score, doomed, 3).tolist() == [False, True, False, True, False]


def test_a_choice_that_is_too_small_is_filled_up_by_gradient() -> None:
    chosen = torch.tensor([True, False, False, False])
    gradient = torch.tensor([9.0, 0.0, 2.0, 1.0])
    assert growth.completed(chosen, gradient, 2).tolist() == [True, False, True, False]
    assert growth.completed(chosen, gradient, 4).all()
    assert growth.completed(chosen, gradient, 0) is chosen


@given(
    start=st.integers(1, 3000),
    budget=st.integers(1, 3000),
    first=st.integers(0, 500),
    every=st.integers(1, 100),
    refinements=st.integers(1, 60),
)
@settings(max_examples=80)
def test_the_curve_rises_to_the_budget_within_the_limit(
    start: int, budget: int, first: int, every: int, refinements: int
) -> None:
    start = min(start, budget)
    steps = range(first + every, first + every * refinements + 1, every)
    num = start
    for step in steps:
        added = schedule.number_to_add(
            num, budget, step=step, steps=steps, begin=first, start=start
        )
        needed = schedule.needed_growth(num, budget, step, steps)
        assert 0 <= added <= max(schedule.GROWTH_LIMIT, needed) * num + 1
        num += added
        assert num <= budget
    assert num == budget


def test_growth_catches_up_with_what_is_pruned() -> None:
    steps = range(100, 3001, 100)
    num = 500
    for step in steps:
        if step == 2000:
            num //= 2  # an opacity reset
        num += schedule.number_to_add(num, 1000, step=step, steps=steps, begin=0, start=100)
    assert num == 1000


def test_reduced_photos_want_fewer_gaussians_but_for_the_last_refinement() -> None:
    common = {"steps": range(10, 41, 10), "begin": 0, "start": 100, "limit": 9.0}
    few, many = (schedule.number_to_add(100, 500, step=10, reduction=r, **common) for r in (2, 1))
    assert (few, many) == (round(200 / 2**1.75), 200)
    assert schedule.number_to_add(100, 500, step=40, reduction=2, **common) == 400


def test_steps_of_refinements_are_those_at_which_methods_refine() -> None:
    for start, stop, every in ((500, 15_000, 100), (5, 150, 20), (0, 41, 20), (7, 7, 5)):
        strategy = DefaultStrategy(
            refine_start_iter=start, refine_stop_iter=stop, refine_every=every
        )
        expected = [step for step in range(stop) if step > start and step % every == 0]
        assert list(schedule.refinement_steps(strategy)) == expected
    paused = DefaultStrategy(reset_every=1000, pause_refine_after_reset=300)
    assert 14_000 not in paused._refinements and 14_300 in paused._refinements


COUNT = 40


def _refined(strategy, scales: float, step: int = 20, **statistics: torch.Tensor) -> Gaussians:
    """The model that one refinement makes of 40 Gaussians, whose rows SH remember."""
    params, optimizers, _ = trained(COUNT)
    gaussians = Gaussians(params, optimizers, {"scene_scale": 1.0})
    with torch.no_grad():
        params["scales"].fill_(scales)
        params["opacities"].fill_(2.0)
        params["sh0"][:, 0, 0] = torch.arange(float(COUNT))
    gaussians.state.update(statistics)
    strategy._refine(gaussians, step)
    return gaussians


SCHEDULE = {"refine_start_iter": 0, "refine_stop_iter": 21, "refine_every": 10}


def _parents(gaussians: Gaussians) -> list[int]:
    """The rows that are there twice."""
    origins = gaussians.params["sh0"][:, 0, 0].round().long()
    return torch.where(torch.bincount(origins, minlength=COUNT) > 1)[0].tolist()


@pytest.mark.parametrize("cls", [DefaultStrategy, NewSplitStrategy])
@pytest.mark.parametrize("scales", [-3.0, -9.0], ids=["split", "clone"])
def test_the_highest_gradients_grow_whatever_the_threshold(cls: type, scales: float) -> None:
    gradient = torch.linspace(0, 1e-9, COUNT)  # all are below the threshold
    statistics = {"grad2d": gradient, "count": torch.ones(COUNT)}
    grown = _refined(cls(budget=50, **SCHEDULE), scales, **statistics)
    assert grown.num == 50
    assert _parents(grown) == list(range(30, 40))
    assert _refined(cls(**SCHEDULE), scales, **statistics).num == COUNT, "without a budget"


def test_absgs_ranks_each_gradient_by_its_own_threshold() -> None:
    small = torch.arange(COUNT) % 2 == 0
    high = torch.arange(COUNT) < 8
    statistics = {
        # Relative to its threshold each of the first eight is at 0.5; what does not count is high.
        "grad2d": torch.where(small, torch.where(high, 1e-4, 1e-5), 1.0),
        "absgrad2d": torch.where(small, 1.0, torch.where(high, 2e-4, 1.9e-4)),
        "count": torch.ones(COUNT),
    }
    params, optimizers, _ = trained(COUNT)
    gaussians = Gaussians(params, optimizers, {"scene_scale": 1.0, **statistics})
    with torch.no_grad():
        params["scales"].copy_(torch.where(small, -9.0, -3.0)[:, None].expand(-1, 3))
        params["opacities"].fill_(2.0)
        params["sh0"][:, 0, 0] = torch.arange(float(COUNT))
    AbsGSStrategy(budget=48, **SCHEDULE)._refine(gaussians, 20)
    assert _parents(gaussians) == list(range(8))


def test_what_is_pruned_in_the_same_refinement_is_made_up_for() -> None:
    """Faint ones go and never grow; of those that are too large a split saves the highest."""
    strategy = DefaultStrategy(budget=50, reset_every=5, **SCHEDULE)
    params, optimizers, _ = trained(COUNT)
    gaussians = Gaussians(params, optimizers, {"scene_scale": 1.0})
    with torch.no_grad():
        params["scales"].fill_(-3.0)
        params["scales"][30:] = -2.0  # 0.135 is above a tenth of the scene
        params["opacities"].fill_(2.0)
        params["opacities"][:5] = -9.0
        params["sh0"][:, 0, 0] = torch.arange(float(COUNT))
    gradient = torch.ones(COUNT)
    gradient[:5], gradient[35:], gradient[30:35] = 9.0, 5.0, 0.0
    gaussians.state.update(grad2d=gradient, count=torch.ones(COUNT))
    strategy._refine(gaussians, 20)
    assert gaussians.num == 50
    left = gaussians.params["sh0"][:, 0, 0].round().long()
    assert not (left < 5).any() and not ((left >= 30) & (left < 35)).any()
    assert torch.bincount(left)[35:].tolist() == [2] * 5


def test_a_model_above_the_budget_loses_the_surplus() -> None:
    statistics = {"grad2d": torch.ones(COUNT), "count": torch.ones(COUNT)}
    assert _refined(DefaultStrategy(budget=25, **SCHEDULE), -3.0, **statistics).num == 25
