"""The largest PSNR, and images that no metric compares."""

import pytest
import torch

from gs_densify.evaluation.metrics.checks import check_pair
from gs_densify.evaluation.metrics.psnr import psnr


def test_equal_images_have_100_decibels_and_no_pair_has_more() -> None:
    image = torch.rand(12, 12, 3)
    assert float(psnr(image, image)) == 100
    almost = image.double() + 1e-7
    assert float(psnr(almost, image.double())) == 100
    assert float(psnr(image.double() + 1e-3, image.double())) == pytest.approx(60, abs=1e-3)


@pytest.mark.parametrize("shapes", [((4, 5, 3), (5, 4, 3)), ((4, 5, 1),) * 2, ((1, 4, 5, 3),) * 2])
def test_only_colour_images_of_one_size_are_compared(shapes: tuple) -> None:
    first, second = (torch.zeros(shape) for shape in shapes)
    with pytest.raises(ValueError, match=r"expected \[H, W, 3\] twice"):
        check_pair(first, second)
    check_pair(torch.zeros(4, 5, 3), torch.zeros(4, 5, 3))
