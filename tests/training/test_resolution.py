"""Coarse to fine: how long each size of the photos lasts."""

import pytest
import torch

from gs_densify.errors import ConfigError
from gs_densify.training.resolution import coarse_to_fine, spectrum_shares


@pytest.mark.parametrize(
    ("period", "kept"),
    [(20, [1, 1, 1]), (8, [1, 1, 1]), (6, [0, 1, 1]), (4, [0, 0, 1]), (3, [0, 0, 0])],
)
def test_a_wave_survives_a_reduction_that_can_still_show_it(period: int, kept: list[int]) -> None:
    wave = torch.cos(2 * torch.pi * torch.arange(120) / period)
    photo = (0.5 + 0.4 * wave).expand(3, 90, 120).permute(1, 2, 0)
    shares = spectrum_shares(photo, (4, 3, 2))
    torch.testing.assert_close(shares, torch.tensor(kept).float(), atol=1e-3, rtol=0)


def test_noise_of_every_frequency_gives_each_size_its_area_of_the_spectrum() -> None:
    photo = torch.rand(240, 240, 1).expand(-1, -1, 3)
    shares = spectrum_shares(photo, (4, 3, 2))
    expected = torch.tensor([1 / 16, 1 / 9, 1 / 4])
    torch.testing.assert_close(shares, expected, atol=0.02, rtol=0)


def test_coarser_photos_come_first_and_the_whole_spectrum_at_last() -> None:
    smooth = torch.rand(1, 3, 25, 30)
    photo = torch.nn.functional.interpolate(smooth, (200, 240), mode="bicubic")[0].permute(1, 2, 0)
    schedule = coarse_to_fine([photo], [(240, 200)], until=1000)
    factors = [schedule.reduction(step) for step in range(1000)]
    assert factors == sorted(factors, reverse=True)
    assert factors[0] == 4
    assert factors[-1] == schedule.reduction(1000) == 1
    # Smooth photos lose little: most of the steps are coarse, unlike with noise.
    noise = coarse_to_fine([torch.rand(200, 240, 3)], [(240, 200)], until=1000)
    assert factors.count(1) < 500 < [noise.reduction(step) for step in range(1000)].count(1)


def test_it_is_off_by_default_and_refused_for_tiny_photos() -> None:
    assert coarse_to_fine([], [(40, 30)], until=0).reduction(0) == 1
    with pytest.raises(ConfigError, match="has no effect: a photo has a side of 30 px, and 64"):
        coarse_to_fine([torch.rand(30, 40, 3)], [(40, 30)], until=10)
    halved = coarse_to_fine([torch.rand(90, 130, 3)], [(130, 90)], until=10)
    assert halved.reduction(0) == 2
