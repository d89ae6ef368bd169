import math

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d

from gs_densify.evaluation import MAX_PSNR, MetricUnavailable, psnr, quantize, ssim
from gs_densify.evaluation.metrics import exact_convolutions, ssim_implementation


def pair(height: int = 24, width: int = 37) -> tuple[torch.Tensor, torch.Tensor]:
    image = torch.rand(height, width, 3)
    return image, (image + 0.2 * torch.randn_like(image)).clamp(0, 1)


def plain_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al. 2004, eq. 13, in float64 with scipy: 11 taps, sigma 1.5, borders reflected."""
    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    taps /= taps.sum()

    def blur(x: np.ndarray) -> np.ndarray:
        # scipy calls "mirror" the reflection that does not repeat the border pixel.
        return correlate1d(correlate1d(x, taps, axis=0, mode="mirror"), taps, axis=1, mode="mirror")

    mu_a, mu_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mu_a**2, blur(b * b) - mu_b**2
    covariance = blur(a * b) - mu_a * mu_b
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * mu_a * mu_b + c1) * (2 * covariance + c2)
    return float((top / ((mu_a**2 + mu_b**2 + c1) * (var_a + var_b + c2))).mean())


def test_psnr_is_the_formula_in_float64() -> None:
    image, target = pair()
    error = np.mean((image.double().numpy() - target.double().numpy()) ** 2)
    assert psnr(image, target) == pytest.approx(-10 * math.log10(error), rel=1e-6)


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


@pytest.mark.parametrize("size", [(24, 37), (11, 11), (12, 60)])
def test_ssim_is_the_formula_with_reflected_borders(size: tuple[int, int]) -> None:
    image, target = pair(*size)
    expected = plain_ssim(image.double().numpy(), target.double().numpy())
    assert ssim(image, target) == pytest.approx(expected, abs=2e-6)
    assert "borders reflected, mean over all pixels" in ssim_implementation()


def test_ssim_of_equal_images_is_one_and_it_is_symmetric() -> None:
    image, target = pair()
    assert ssim(image, image) == pytest.approx(1, abs=1e-6)
    assert ssim(image, target) == pytest.approx(ssim(target, image), abs=1e-6)


@pytest.mark.parametrize("size", [(10, 30), (30, 10), (1, 1)])
def test_ssim_of_an_image_smaller_than_the_window_says_so(size: tuple[int, int]) -> None:
    image, target = pair(*size)
    with pytest.raises(MetricUnavailable, match=f"11 pixels .* {size[1]}x{size[0]}"):
        ssim(image, target)


def test_quantize_gives_what_a_saved_picture_reads_back() -> None:
    image = 1.4 * torch.rand(50, 40, 3) - 0.2
    levels = np.rint(image.numpy().clip(0, 1) * 255).astype(np.uint8)
    assert torch.equal(quantize(image), torch.from_numpy(levels).float().div(255))
    assert torch.equal(quantize(quantize(image)), quantize(image))


def test_every_level_survives_quantize() -> None:
    levels = torch.arange(256).div(255)
    assert torch.equal(quantize(levels), levels)


def test_metrics_refuse_images_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"\[H, W, 3\]"):
        psnr(torch.zeros(4, 4, 3), torch.zeros(4, 5, 3))
    with pytest.raises(ValueError, match=r"\[H, W, 3\]"):
        ssim(torch.zeros(1, 3, 20, 20), torch.zeros(1, 3, 20, 20))


def test_exact_convolutions_puts_the_settings_back() -> None:
    cudnn = torch.backends.cudnn

    def settings() -> tuple:
        return cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32

    before = settings()
    with pytest.raises(KeyError), exact_convolutions():
        assert settings() == (True, False, True, False)
        raise KeyError
    assert settings() == before
