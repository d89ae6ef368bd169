import math

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio

from gs_densify.evaluation.metrics import MetricUnavailable
from gs_densify.evaluation.metrics.checks import exact_convolutions
from gs_densify.evaluation.metrics.psnr import MAX_PSNR, psnr
from gs_densify.evaluation.quantisation import quantize


def pair(height: int = 24, width: int = 37) -> tuple[torch.Tensor, torch.Tensor]:
    image = torch.rand(height, width, 3)
    return image, (image + 0.2 * torch.randn_like(image)).clamp(0, 1)


def test_psnr_is_the_formula_in_float64() -> None:
    image, target = pair()
    error = np.mean((image.double().numpy() - target.double().numpy()) ** 2)
    assert psnr(image, target) == pytest.approx(-10 * math.log10(error), rel=1e-6)


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
def test_psnr_is_torchmetrics_to_the_last_digit(device: str) -> None:
    """What is stored of earlier runs was computed by it."""
    for size in ((24, 37), (1, 3), (533, 800)):
        image, target = (one.to(device) for one in pair(*size))
        expected = peak_signal_noise_ratio(image.double(), target.double(), data_range=1.0)
        assert psnr(image, target) == float(expected)


def test_psnr_of_equal_images_is_finite_and_the_largest() -> None:
    image, target = pair()
    assert psnr(image, image) == MAX_PSNR
    assert psnr(image, target) < psnr(image, image + 1e-4) < MAX_PSNR


def test_psnr_of_one_wrong_level_in_a_whole_photo_is_not_capped() -> None:
    image = torch.zeros(100, 100, 3)
    off = image.clone()
    off[0, 0, 0] = 1 / 255
    assert psnr(image, off) == pytest.approx(20 * math.log10(255) + 10 * math.log10(30_000), 1e-6)
    assert psnr(image, off) < MAX_PSNR


def test_quantize_gives_what_a_saved_picture_reads_back() -> None:
    image = 1.4 * torch.rand(50, 40, 3) - 0.2
    levels = np.rint(image.numpy().clip(0, 1) * 255).astype(np.uint8)
    assert torch.equal(quantize(image), torch.from_numpy(levels).float().div(255))
    assert torch.equal(quantize(quantize(image)), quantize(image))


def test_truncation_is_numpys_and_costs_more_than_rounding() -> None:
    image = 1.4 * torch.rand(50, 40, 3) - 0.2
    levels = (image.numpy() * np.float32(255)).clip(0, 255).astype(np.uint8)
    truncated = quantize(image, "uint8-truncate")
    assert torch.equal(truncated, torch.from_numpy(levels).float().div(255))
    target = image.clamp(0, 1)
    assert psnr(truncated, target) < psnr(quantize(image), target) - 5
    assert torch.equal(quantize(image, "float"), target)


def test_every_level_survives_quantize() -> None:
    levels = torch.arange(256).div(255)
    assert torch.equal(quantize(levels), levels)


def test_psnr_over_a_mask_is_that_of_the_counted_pixels() -> None:
    image, target = pair()
    mask = torch.rand(image.shape[:2]) < 0.3
    squares = (image.double() - target.double()).numpy()[mask.numpy()] ** 2
    assert psnr(image, target, mask) == pytest.approx(-10 * math.log10(squares.mean()), rel=1e-6)
    assert psnr(image, target, torch.ones_like(mask)) == psnr(image, target)
    with pytest.raises(MetricUnavailable, match="excludes every pixel"):
        psnr(image, target, torch.zeros_like(mask))


def test_metrics_refuse_images_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"\[H, W, 3\]"):
        psnr(torch.zeros(4, 4, 3), torch.zeros(4, 5, 3))


def test_exact_convolutions_puts_the_settings_back() -> None:
    cudnn = torch.backends.cudnn

    def settings() -> tuple:
        return cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32

    before = settings()
    with pytest.raises(KeyError), exact_convolutions():
        assert settings() == (True, False, True, False)
        raise KeyError
    assert settings() == before
