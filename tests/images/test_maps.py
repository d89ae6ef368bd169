"""Per-pixel errors against torchmetrics, and their Triton kernels against torch."""

from collections.abc import Callable

import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from gs_densify.images import maps
from gs_densify.images.edges import edge_map


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
    ours = maps.dissimilarity_map(first, second)
    assert ours.shape == (2, 31, 40)
    torch.testing.assert_close(ours[:, 5:-5, 5:-5], expected, atol=1e-5, rtol=0)


_INTERPRETED = """
import torch
from gs_densify.images import maps
torch.manual_seed(3)
for shape, weight in (((2, 13, 90, 3), 0.2), ((1, 5, 7, 3), 1.0)):
    image = torch.rand(shape, dtype=torch.float64)
    render = image + 0.1 * torch.randn_like(image)
    error, edges = maps._fused_maps(render, image, weight)
    torch.testing.assert_close(error, maps.error_map(render, image, weight))
    torch.testing.assert_close(edges, maps.edge_map(image))
"""


def test_triton_maps_agree_with_torch_when_interpreted(interpret: Callable[..., None]) -> None:
    interpret(_INTERPRETED)


@pytest.mark.gpu
@pytest.mark.parametrize("size", [(533, 800), (3, 300), (40, 5)])
def test_triton_maps_agree_with_torch_on_a_gpu(size: tuple[int, int]) -> None:
    image = torch.rand(2, *size, 3, device="cuda")
    render = (image + 0.1 * torch.randn_like(image)).clamp(0, 1)
    error, edges = maps.error_and_edges(render, image)
    exact = maps.error_map(render.double(), image.double()).float()
    torch.testing.assert_close(error, exact, atol=2e-5, rtol=0)
    torch.testing.assert_close(edges, edge_map(image), atol=1e-6, rtol=0)


def test_error_map_weighs_l1_and_dissimilarity_and_is_zero_for_equal_images() -> None:
    image, render = torch.rand(1, 6, 7, 3), torch.rand(1, 6, 7, 3)  # smaller than SSIM's window
    l1 = (image - render).abs().mean(-1)
    expected = 0.7 * l1 + 0.3 * maps.dissimilarity_map(render, image)
    torch.testing.assert_close(maps.error_map(render, image, 0.3), expected)
    torch.testing.assert_close(maps.error_map(render, image, 0.0), l1)
    same = maps.error_map(image, image)
    torch.testing.assert_close(same, torch.zeros(1, 6, 7), atol=1e-5, rtol=0)
