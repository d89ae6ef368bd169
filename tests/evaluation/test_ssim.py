"""SSIM with each treatment of the borders, against scipy and torchmetrics."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d
from torchmetrics.functional.image import structural_similarity_index_measure

from gs_densify.evaluation.metrics import MetricUnavailable
from gs_densify.evaluation.metrics.ssim import ssim, ssim_implementation

BORDERS = ("reflect", "valid", "zero")
# scipy calls "mirror" the reflection that does not repeat the border pixel.
MODES = {"reflect": "mirror", "valid": "mirror", "zero": "constant"}


def pair(height: int = 24, width: int = 37) -> tuple[torch.Tensor, torch.Tensor]:
    image = torch.rand(height, width, 3)
    return image, (image + 0.2 * torch.randn_like(image)).clamp(0, 1)


def plain_map(a: np.ndarray, b: np.ndarray, borders: str) -> np.ndarray:
    """Wang et al. 2004, eq. 13, in float64 with scipy: 11 taps, sigma 1.5; [H, W, 3]."""
    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    taps /= taps.sum()

    def blur(x: np.ndarray) -> np.ndarray:
        options = {"mode": MODES[borders], "cval": 0.0}
        return correlate1d(correlate1d(x, taps, axis=0, **options), taps, axis=1, **options)

    mu_a, mu_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mu_a**2, blur(b * b) - mu_b**2
    covariance = blur(a * b) - mu_a * mu_b
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * mu_a * mu_b + c1) * (2 * covariance + c2)
    values = top / ((mu_a**2 + mu_b**2 + c1) * (var_a + var_b + c2))
    return values[5:-5, 5:-5] if borders == "valid" else values


def both(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor, np.ndarray, np.ndarray]:
    image, target = pair(height, width)
    return image, target, image.double().numpy(), target.double().numpy()


@pytest.mark.parametrize("borders", BORDERS)
@pytest.mark.parametrize("size", [(24, 37), (11, 11), (12, 60)])
def test_ssim_is_the_formula(size: tuple[int, int], borders: str) -> None:
    image, target, a, b = both(*size)
    expected = plain_map(a, b, borders).mean()
    assert ssim(image, target, borders=borders) == pytest.approx(expected, abs=1e-12)


def test_the_borders_matter_and_are_named() -> None:
    image, target = pair()
    values = [ssim(image, target, borders=borders) for borders in BORDERS]
    assert min(abs(a - b) for a in values for b in values if a is not b) > 1e-4
    assert len({ssim_implementation(borders) for borders in BORDERS}) == 3


def test_reflect_is_torchmetrics_and_valid_the_inside_of_its_map() -> None:
    image, target = pair(40, 33)
    batches = [x.permute(2, 0, 1)[None] for x in (image, target)]
    mean, full = structural_similarity_index_measure(
        *batches, data_range=1.0, return_full_image=True
    )
    assert ssim(image, target) == pytest.approx(float(mean), abs=2e-6)
    inside = float(full[..., 5:-5, 5:-5].mean())
    assert ssim(image, target, borders="valid") == pytest.approx(inside, abs=2e-6)


@pytest.mark.parametrize("borders", BORDERS)
def test_a_mask_picks_the_pixels_of_the_mean(borders: str) -> None:
    image, target, a, b = both(24, 37)
    mask = torch.rand(24, 37) < 0.3
    counted = mask.numpy()[5:-5, 5:-5] if borders == "valid" else mask.numpy()
    expected = plain_map(a, b, borders)[counted].mean()
    assert ssim(image, target, borders=borders, valid_mask=mask) == pytest.approx(
        expected, abs=1e-12
    )
    everything = ssim(image, target, borders=borders, valid_mask=torch.ones_like(mask))
    assert everything == pytest.approx(ssim(image, target, borders=borders), abs=1e-14)


def test_a_mask_without_a_pixel_to_average_says_so() -> None:
    image, target = pair()
    corner = torch.zeros(image.shape[:2], dtype=torch.bool)
    corner[:5, :5] = True
    assert ssim(image, target, borders="zero", valid_mask=corner) < 1
    with pytest.raises(MetricUnavailable, match="the mask excludes them"):
        ssim(image, target, borders="valid", valid_mask=corner)


@pytest.mark.parametrize("borders", BORDERS)
def test_ssim_of_equal_images_is_one_and_it_is_symmetric(borders: str) -> None:
    image, target = pair()
    assert ssim(image, image, borders=borders) == pytest.approx(1, abs=1e-12)
    forth, back = ssim(image, target, borders=borders), ssim(target, image, borders=borders)
    assert forth == pytest.approx(back, abs=1e-12)


@pytest.mark.parametrize("size", [(10, 30), (30, 10), (1, 1)])
def test_ssim_of_an_image_smaller_than_the_window_says_so(size: tuple[int, int]) -> None:
    image, target = pair(*size)
    with pytest.raises(MetricUnavailable, match=f"11 pixels .* {size[1]}x{size[0]}"):
        ssim(image, target)


def test_ssim_refuses_batches() -> None:
    with pytest.raises(ValueError, match=r"\[H, W, 3\]"):
        ssim(torch.zeros(1, 3, 20, 20), torch.zeros(1, 3, 20, 20))


def test_a_large_photo_takes_less_than_half_a_gigabyte() -> None:
    code = (
        "import resource, torch; from gs_densify.evaluation.metrics.ssim import ssim\n"
        "a, b = torch.rand(1066, 1600, 3), torch.rand(1066, 1600, 3)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "ssim(a, b)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(done.stdout) * unit < 2**29
