"""Splits and clones of a single Gaussian, and factors that are refused."""

import math
from functools import partial

import pytest
import torch
from splats_example import trained

from gs_densify.errors import StrategyError
from gs_densify.strategies import splits

FACTORS = {"shrink_long": 0.6, "shrink_others": 0.9, "opacity_factor": 0.5}
ALL = {
    "long_axis_split": partial(splits.long_axis_split, offset=0.5, **FACTORS),
    "moment_split": partial(splits.moment_split, delta=0.5),
    "revised_clone": splits.revised_clone,
}


@pytest.mark.parametrize("operation", ALL)
def test_one_gaussian_becomes_two_as_it_does_among_others(operation: str) -> None:
    params, optimizers, state = trained(8)
    ALL[operation](params, optimizers, state, torch.arange(8) == 5)
    assert {len(value) for value in params.values()} == {9}
    alone = {name: value.detach().clone() for name, value in params.items()}
    params, optimizers, state = trained(8)
    ALL[operation](params, optimizers, state, torch.arange(8) >= 5)
    # Rows of the two that were one: in place and at the end, or both at the end.
    first, among = (5, (5, 8)) if operation == "revised_clone" else (7, (5, 8))
    for name, value in params.items():
        assert torch.equal(alone[name][[first, 8]], value.detach()[list(among)]), name


@pytest.mark.parametrize("operation", ALL)
def test_without_a_chosen_gaussian_nothing_is_changed(operation: str) -> None:
    params, optimizers, state = trained(8)
    before = dict(params.items())
    ALL[operation](params, optimizers, state, torch.zeros(8, dtype=torch.bool))
    assert all(params[name] is value for name, value in before.items())


@pytest.mark.parametrize("value", [0.0, -0.5, math.inf, math.nan])
@pytest.mark.parametrize("name", FACTORS)
def test_factors_that_are_not_positive_numbers_are_refused(name: str, value: float) -> None:
    params, optimizers, state = trained(4)
    factors = {**FACTORS, name: value}
    with pytest.raises(StrategyError, match=rf"long_axis_split: {name} is {value}; a positive"):
        splits.long_axis_split(
            params, optimizers, state, torch.ones(4, dtype=torch.bool), offset=0.5, **factors
        )
