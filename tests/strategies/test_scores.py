"""Maps against PIL, torchmetrics and hand values; normalisations and choices as defined."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torchmetrics.functional.image import structural_similarity_index_measure

from gs_densify.strategies import scores


def test_sobel_of_a_ramp_is_its_slope_and_of_a_step_is_half_its_height() -> None:
    x = torch.arange(12.0)
    ramp = (0.03 * x)[None, None, :, None].expand(2, 9, 12, 3)
    edges = scores.edge_map(ramp)
    assert edges.shape == (2, 9, 12)
    torch.testing.assert_close(edges[..., 1:-1], torch.full((2, 9, 10), 0.03))
    torch.testing.assert_close(edges[..., 0], torch.full((2, 9), 0.015))
    step = (x >= 6).float()[None, :, None, None].expand(1, 12, 9, 3)
    torch.testing.assert_close(
        scores.edge_map(step)[0, :, 4].nonzero().flatten(), torch.tensor([5, 6])
    )
    assert scores.edge_map(step)[0, 5, 4] == pytest.approx(0.5)


def test_a_flat_photo_has_no_edges() -> None:
    flat = torch.full((1, 7, 8, 3), 0.4)
    torch.testing.assert_close(scores.edge_map(flat), torch.zeros(1, 7, 8))
    torch.testing.assert_close(scores.find_edges_map(flat), torch.zeros(1, 7, 8), atol=1e-6, rtol=0)


def test_find_edges_is_pils_inside_the_border() -> None:
    photo = np.random.default_rng(3).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    photo = np.array(Image.fromarray(photo).resize((80, 60)))  # smooth enough not to clip always
    pils = np.array(Image.fromarray(photo).convert("L").filter(ImageFilter.FIND_EDGES))
    ours = scores.find_edges_map(torch.from_numpy(photo)[None] / 255.0)[0]
    expected = torch.from_numpy(pils)[1:-1, 1:-1] / 255.0
    assert 0.05 < ((expected > 0) & (expected < 1)).float().mean()
    # PIL rounds grey values to 8 bits before it multiplies them by 8 and subtracts 8 of them.
    torch.testing.assert_close(ours[1:-1, 1:-1], expected, atol=8.5 / 255, rtol=0)
    assert (ours[1:-1, 1:-1] - expected).abs().mean() < 1.5 / 255


def test_dissimilarity_is_one_minus_torchmetrics_ssim_away_from_the_border() -> None:
    first = torch.rand(2, 31, 40, 3)
    second = (first + 0.1 * torch.randn_like(first)).clamp(0, 1)
    _, full = structural_similarity_index_measure(
        first.permute(0, 3, 1, 2),
        second.permute(0, 3, 1, 2),
        data_range=1.0,
        return_full_image=True,
    )
    expected = 1 - full.mean(1)[:, 5:-5, 5:-5]
    ours = scores.dissimilarity_map(first, second)
    assert ours.shape == (2, 31, 40)
    torch.testing.assert_close(ours[:, 5:-5, 5:-5], expected, atol=1e-5, rtol=0)


_INTERPRETED = """
import torch
from gs_densify.strategies import scores
torch.manual_seed(3)
for shape, weight in (((2, 13, 90, 3), 0.2), ((1, 5, 7, 3), 1.0)):
    image = torch.rand(shape, dtype=torch.float64)
    render = image + 0.1 * torch.randn_like(image)
    error, edges = scores._fused_maps(render, image, weight)
    torch.testing.assert_close(error, scores.error_map(render, image, weight))
    torch.testing.assert_close(edges, scores.edge_map(image))
"""


def test_triton_maps_agree_with_torch_when_interpreted(interpret: Callable[..., None]) -> None:
    interpret("-c", _INTERPRETED)


@pytest.mark.gpu
@pytest.mark.parametrize("size", [(533, 800), (3, 300), (40, 5)])
def test_triton_maps_agree_with_torch_on_a_gpu(size: tuple[int, int]) -> None:
    image = torch.rand(2, *size, 3, device="cuda")
    render = (image + 0.1 * torch.randn_like(image)).clamp(0, 1)
    error, edges = scores.error_and_edges(render, image)
    exact = scores.error_map(render.double(), image.double()).float()
    torch.testing.assert_close(error, exact, atol=2e-5, rtol=0)
    torch.testing.assert_close(edges, scores.edge_map(image), atol=1e-6, rtol=0)


def test_error_map_weighs_l1_and_dissimilarity_and_is_zero_for_equal_images() -> None:
    image, render = torch.rand(1, 6, 7, 3), torch.rand(1, 6, 7, 3)  # smaller than SSIM's window
    l1 = (image - render).abs().mean(-1)
    expected = 0.7 * l1 + 0.3 * scores.dissimilarity_map(render, image)
    torch.testing.assert_close(scores.error_map(render, image, 0.3), expected)
    torch.testing.assert_close(scores.error_map(render, image, 0.0), l1)
    same = scores.error_map(image, image)
    torch.testing.assert_close(same, torch.zeros(1, 6, 7), atol=1e-5, rtol=0)


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
