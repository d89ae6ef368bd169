"""Edges against PIL and hand values."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from gs_densify.images.edges import edge_map, find_edges_map


def test_sobel_of_a_ramp_is_its_slope_and_of_a_step_is_half_its_height() -> None:
    x = torch.arange(12.0)
    ramp = (0.03 * x)[None, None, :, None].expand(2, 9, 12, 3)
    edges = edge_map(ramp)
    assert edges.shape == (2, 9, 12)
    torch.testing.assert_close(edges[..., 1:-1], torch.full((2, 9, 10), 0.03))
    torch.testing.assert_close(edges[..., 0], torch.full((2, 9), 0.015))
    step = (x >= 6).float()[None, :, None, None].expand(1, 12, 9, 3)
    torch.testing.assert_close(edge_map(step)[0, :, 4].nonzero().flatten(), torch.tensor([5, 6]))
    assert edge_map(step)[0, 5, 4] == pytest.approx(0.5)


def test_a_flat_photo_has_no_edges() -> None:
    flat = torch.full((1, 7, 8, 3), 0.4)
    torch.testing.assert_close(edge_map(flat), torch.zeros(1, 7, 8))
    torch.testing.assert_close(find_edges_map(flat), torch.zeros(1, 7, 8), atol=1e-6, rtol=0)


def test_find_edges_is_pils_inside_the_border() -> None:
    photo = np.random.default_rng(3).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    photo = np.array(Image.fromarray(photo).resize((80, 60)))  # smooth enough not to clip always
    pils = np.array(Image.fromarray(photo).convert("L").filter(ImageFilter.FIND_EDGES))
    ours = find_edges_map(torch.from_numpy(photo)[None] / 255.0)[0]
    expected = torch.from_numpy(pils)[1:-1, 1:-1] / 255.0
    assert 0.05 < ((expected > 0) & (expected < 1)).float().mean()
    # PIL rounds grey values to 8 bits before it multiplies them by 8 and subtracts 8 of them.
    torch.testing.assert_close(ours[1:-1, 1:-1], expected, atol=8.5 / 255, rtol=0)
    assert (ours[1:-1, 1:-1] - expected).abs().mean() < 1.5 / 255
