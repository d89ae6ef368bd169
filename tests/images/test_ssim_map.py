"""One SSIM and two blurs of it: against scipy, and against each other in their three uses."""

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d

from gs_densify.evaluation.metrics.ssim import ssim
from gs_densify.images.blur import MARGIN, blur, exact_blur, window
from gs_densify.images.maps import dissimilarity_map
from gs_densify.images.ssim import ssim_map
from gs_densify.training.losses import photometric_loss

BORDERS = ("valid", "reflect", "zero", "replicate")
# scipy calls "mirror" the reflection that does not repeat the border pixel.
MODES = {"valid": "mirror", "reflect": "mirror", "zero": "constant", "replicate": "nearest"}


def pair(*shape: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    first = torch.rand(shape, dtype=dtype)
    return first, (first + 0.2 * torch.randn_like(first)).clamp(0, 1)


@pytest.mark.parametrize("borders", BORDERS)
@pytest.mark.parametrize("size", [(24, 37), (11, 11), (60, 12)])
def test_both_blurs_are_scipys(size: tuple[int, int], borders: str) -> None:
    images = torch.rand(2, 3, *size, dtype=torch.float64)
    expected = images.numpy()
    for axis in (-2, -1):
        expected = correlate1d(expected, window(), axis=axis, mode=MODES[borders], cval=0.0)
    if borders == "valid":
        expected = expected[..., MARGIN:-MARGIN, MARGIN:-MARGIN]
    for of in (blur, exact_blur):
        found = of(images, borders)
        torch.testing.assert_close(found, torch.from_numpy(np.ascontiguousarray(expected)))


@pytest.mark.parametrize("size", [(3, 30), (1, 1)])
def test_replicated_borders_suit_images_smaller_than_the_window(size: tuple[int, int]) -> None:
    images = torch.rand(1, *size, dtype=torch.float64)
    expected = images.numpy()
    for axis in (1, 2):
        expected = correlate1d(expected, window(), axis=axis, mode="nearest")
    for of in (blur, exact_blur):
        torch.testing.assert_close(of(images, "replicate"), torch.from_numpy(expected))


def test_loss_scores_and_metric_are_one_ssim_where_borders_do_not_matter() -> None:
    first, second = pair(1, 31, 40, 3)
    inside = (..., slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    fits = ssim_map(first, second, "valid")
    for borders in BORDERS[1:]:
        for blurred in (blur, exact_blur):
            whole = ssim_map(first, second, borders, blurred)
            assert whole.shape == (1, 3, 31, 40)
            torch.testing.assert_close(whole[inside], fits)
    similarity = float(fits.mean())
    _, terms = photometric_loss(first, second, 0.2)
    assert float(terms["ssim_loss"]) == pytest.approx(1 - similarity, abs=1e-12)
    scored = dissimilarity_map(first, second)[inside]
    assert float(scored.mean()) == pytest.approx(1 - similarity, abs=1e-12)
    assert ssim(first[0], second[0], borders="valid") == pytest.approx(similarity, abs=1e-12)


@pytest.mark.parametrize("borders", BORDERS)
def test_the_map_is_differentiable_under_every_treatment_of_the_borders(borders: str) -> None:
    first, second = pair(1, 12, 13, 1)
    assert torch.autograd.gradcheck(
        lambda a: ssim_map(a, second, borders), first.requires_grad_(), atol=1e-7
    )


def test_the_exact_blur_has_the_same_digits_however_many_images_it_is_given() -> None:
    images = torch.rand(4, 20, 33, dtype=torch.float64)
    whole = exact_blur(images, "reflect")
    single = torch.stack([exact_blur(image, "reflect") for image in images])
    assert torch.equal(whole, single)
