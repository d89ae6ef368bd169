"""Spreads and paired tests against scipy's and numpy's."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from gs_densify.report.statistics import Spread, paired, paired_by_name, spread

SCORES = st.floats(-50, 50).map(lambda value: round(value, 6))
PAIRS = st.lists(st.tuples(SCORES, SCORES), min_size=2, max_size=40)


@given(pairs=PAIRS)
def test_paired_differences_are_those_of_scipy(pairs: list[tuple[float, float]]) -> None:
    method, baseline = zip(*pairs, strict=True)
    assume(np.std(np.subtract(method, baseline)) > 1e-6)
    found, expected = paired(method, baseline), stats.ttest_rel(method, baseline)
    interval = expected.confidence_interval(0.95)
    assert found.n == len(pairs)
    assert found.mean == pytest.approx(np.mean(method) - np.mean(baseline), abs=1e-9)
    assert found.low == pytest.approx(interval.low, rel=1e-8, abs=1e-8)
    assert found.high == pytest.approx(interval.high, rel=1e-8, abs=1e-8)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    assume(abs(expected.pvalue - 0.05) > 1e-9)
    assert found.is_noise == (expected.pvalue > 0.05)


@given(pairs=PAIRS)
def test_the_other_way_round_is_the_opposite(pairs: list[tuple[float, float]]) -> None:
    method, baseline = zip(*pairs, strict=True)
    one, other = paired(method, baseline), paired(baseline, method)
    assert (one.mean, one.low, one.high) == (-other.mean, -other.high, -other.low)
    assert (one.p, one.is_noise) == (other.p, other.is_noise)


def test_one_pair_tells_nothing() -> None:
    found = paired([2.0], [1.5])
    assert (found.mean, found.low, found.high, found.p, found.n) == (0.5, None, None, None, 1)
    assert found.is_noise


@pytest.mark.parametrize(("by", "p", "is_noise"), [(0.5, 0.0, False), (0.0, 1.0, True)])
def test_equal_differences_leave_nothing_to_chance(by: float, p: float, is_noise: bool) -> None:
    found = paired([1.0 + by, 2.0 + by, 4.0 + by], [1.0, 2.0, 4.0])
    assert (found.mean, found.low, found.high, found.p) == (by, by, by, p)
    assert found.is_noise is is_noise


def test_pairs_are_those_of_one_name() -> None:
    found = paired_by_name({"a": 1.0, "b": 3.0, "c": 9.0}, {"c": 8.0, "b": 1.0, "d": 0.0})
    assert found == paired([3.0, 9.0], [1.0, 8.0])
    assert paired_by_name({"a": 1.0}, {"b": 1.0}) is None
    with pytest.raises(ValueError):
        paired([1.0, 2.0], [1.0])


@given(values=st.lists(SCORES, min_size=2, max_size=9))
def test_a_spread_is_mean_and_sample_deviation(values: list[float]) -> None:
    found = spread(values)
    assert found.n == len(values)
    assert found.mean == pytest.approx(math.fsum(values) / len(values), abs=1e-12)
    assert found.std == pytest.approx(np.std(values, ddof=1), abs=1e-9)
    assert found.std == statistics.stdev(values)


def test_a_spread_that_lacks_a_value_has_none() -> None:
    assert spread([1.0]) == Spread(mean=1.0, std=None, n=1)
    assert spread([1.0, None]) == Spread(mean=None, std=None, n=2)
    assert spread([]) == Spread(mean=None, std=None, n=0)
