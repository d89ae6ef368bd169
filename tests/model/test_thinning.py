"""Thinning: as many as asked for, evenly among all, whatever the order or the units."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gs_densify.model.thinning import evenly_spaced, spatial_order, thinned


@given(count=st.integers(1, 300), share=st.floats(0, 1))
def test_positions_are_distinct_rising_and_at_equal_distances(count: int, share: float) -> None:
    n = round(share * count)
    positions = evenly_spaced(count, n)
    assert len(positions) == n
    if n:
        assert 0 <= positions[0] and positions[-1] < count
    gaps = positions.diff()
    assert (gaps >= 1).all() and (n < 2 or int(gaps.max() - gaps.min()) <= 1)


def test_neighbours_in_the_order_are_neighbours_in_space() -> None:
    points = torch.rand(4096, 3)
    order = spatial_order(points, 1024)
    assert torch.equal(order.sort().values, torch.arange(4096))
    along = points[order].diff(dim=0).norm(dim=1).mean()
    assert along < 0.25 * points.diff(dim=0).norm(dim=1).mean()


@pytest.mark.parametrize("parts", [2, 4, 64])
def test_cells_hold_equally_many_points_and_do_not_overlap(parts: int) -> None:
    points = torch.rand(1000, 3) * torch.tensor([1.0, 50.0, 1.0])
    points[0, 1] = 1e6  # a far point takes no cell for itself
    cells = spatial_order(points, parts).tensor_split(parts)
    assert {len(cell) for cell in cells} <= {1000 // parts, 1000 // parts + 1}
    if parts == 2:
        first, second = (points[cell, 1] for cell in cells)
        assert first.max() <= second.min()


def test_equal_points_are_thinned_too() -> None:
    assert thinned(torch.zeros(9, 3), 3).tolist() == [1, 4, 7]


def _mean_distance(points: torch.Tensor, kept: torch.Tensor) -> float:
    """Mean distance of the points to the nearest of those kept."""
    return torch.cdist(points, points[kept]).amin(dim=1).mean().item()


@pytest.mark.parametrize("n", [1, 50, 499, 2000])
def test_what_is_kept_covers_the_points_better_than_a_random_choice(n: int) -> None:
    dense, sparse = torch.randn(1500, 3), torch.tensor([30.0, 0, 0]) + 5 * torch.randn(500, 3)
    points = torch.cat([dense, sparse])
    kept = thinned(points, n)
    assert len(kept) == n and (kept.diff() > 0).all()
    if n in (50, 499):
        anyhow = sum(_mean_distance(points, torch.randperm(2000)[:n]) for _ in range(10)) / 10
        assert _mean_distance(points, kept) < anyhow
        # Each part keeps its share.
        assert abs(int((kept >= 1500).sum()) - n / 4) <= 0.03 * n + 2
