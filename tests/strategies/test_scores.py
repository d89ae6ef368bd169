"""Normalisations and choices as defined; names that moved are still there."""

import math

import pytest
import torch

from gs_densify.images import maps
from gs_densify.strategies import scores


def test_normalisations_divide_by_what_is_positive() -> None:
    values = torch.tensor([0.0, 2.0, -1.0, 4.0, 12.0, math.nan])
    torch.testing.assert_close(
        scores.median_normalized(values), torch.tensor([0.0, 0.5, 0.0, 1.0, 3.0, 0.0])
    )
    torch.testing.assert_close(
        scores.mean_normalized_positive(values), torch.tensor([0.0, 2 / 6, 0.0, 4 / 6, 2.0, 0.0])
    )
    torch.testing.assert_close(
        scores.min_max_normalized(torch.tensor([[2.0, 4.0], [3.0, 6.0]])),
        torch.tensor([[0.0, 0.5], [0.25, 1.0]]),
    )


@pytest.mark.parametrize(
    "normalize",
    [scores.median_normalized, scores.mean_normalized_positive, scores.min_max_normalized],
)
def test_normalising_nothing_gives_zeros(normalize) -> None:
    assert torch.equal(normalize(torch.zeros(5)), torch.zeros(5))


def test_rank_is_the_share_below_and_half_of_the_equal() -> None:
    values = torch.tensor([5.0, 1.0, 5.0, 9.0])
    torch.testing.assert_close(scores.rank(values), torch.tensor([0.5, 0.125, 0.5, 0.875]))
    assert scores.rank(torch.tensor([3.0])) == pytest.approx(0.5)
    assert scores.rank(torch.zeros(0)).shape == (0,)
    many = torch.randn(1000)
    torch.testing.assert_close(scores.rank(many), scores.rank(many.exp()))
    assert scores.rank(many).mean() == pytest.approx(0.5)


def test_lowest_takes_exactly_n_even_of_equal_values() -> None:
    values = torch.tensor([3.0, 1.0, 1.0, 1.0, 0.5])
    assert scores.lowest(values, 2).tolist() == [False, False, True, False, True]
    assert int(scores.lowest(torch.zeros(10), 4).sum()) == 4
    assert not scores.lowest(values, -3).any()
    assert scores.lowest(values, 99).all()


def test_equal_values_are_taken_evenly_in_space_and_not_from_the_first_rows() -> None:
    # Two clusters far apart, the first of which has the first rows, as COLMAP numbers points.
    means = (
        torch.randn(600, 3) + torch.tensor([50.0, 0.0, 0.0]) * (torch.arange(600) >= 200)[:, None]
    )
    values = torch.full((600,), 0.1)
    values[[5, 500]] = 0.05
    mask = scores.lowest(values, 300, means)
    assert int(mask.sum()) == 300 and mask[[5, 500]].all()
    assert abs(int(mask[:200].sum()) - 100) <= 2


def test_masks_of_rows() -> None:
    assert scores.masked(torch.tensor([3, 0]), 4).tolist() == [True, False, False, True]
    assert not scores.masked(torch.tensor([], dtype=torch.long), 3).any()


def test_views_are_distinct_and_no_more_than_there_are() -> None:
    views = scores.random_views(20, 8)
    assert len(set(views)) == 8 and set(views) <= set(range(20))
    assert sorted(scores.random_views(3, 10)) == [0, 1, 2]


def test_the_maps_have_their_names_here_as_well() -> None:
    image, render = torch.rand(2, 1, 12, 13, 3)
    assert torch.equal(scores.error_map(render, image), maps.error_map(render, image))
    assert torch.equal(scores.error_and_edges(render, image)[1], scores.edge_map(image))
    assert float(scores.luma(torch.ones(3))) == pytest.approx(1)
    assert sum(scores.ssim_window()) == pytest.approx(1) and len(scores.ssim_window()) == 11
    assert scores.dissimilarity_map(image, image).abs().max() < 1e-5
    assert scores.find_edges_map(image).shape == (1, 12, 13)
    assert scores.SSIM_CONSTANTS == (0.01**2, 0.03**2)
