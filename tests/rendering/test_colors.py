"""SH colours: Triton kernels against autograd through the basis, interpreted and on a GPU."""

import os
from collections.abc import Callable

import pytest
import torch
from rendering_scenes import cameras

from gs_densify.model.sh import eval_sh
from gs_densify.rendering.colors import camera_centres, in_one, view_colors

_INTERPRETED = """
import sys
sys.path.insert(0, {folder!r})
from test_colors import check_kernels
for degree in (1, 2, 3):
    check_kernels(degree, "cpu", n_cameras=degree)
check_kernels(1, "cpu", stored_degree=3)
"""


def check_kernels(
    degree: int, device: str, *, n_cameras: int = 1, stored_degree: int = 0, count: int = 300
) -> None:
    from gs_densify.rendering.gsplat.colors_triton import ViewColors

    generator = torch.Generator().manual_seed(degree)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(device)

    rest = (max(degree, stored_degree) + 1) ** 2 - 1
    leaves = [random(count, 3), 0.5 * random(count, 1, 3), 0.5 * random(count, rest, 3)]
    means, sh0, shN = (leaf.requires_grad_() for leaf in leaves)
    viewmats = cameras(n_cameras, 8, 8)[0].to(device)
    radii = (random(n_cameras, count, 2) > -0.7).int() * 3
    is_drawn = (radii > 0).all(-1, keepdim=True)
    found = ViewColors.apply(means, sh0, shN, camera_centres(viewmats), radii, degree)
    expected = view_colors(means, (sh0, shN), viewmats, degree, eval_sh) * is_drawn
    torch.testing.assert_close(found, expected)
    assert 0 < (expected == 0)[is_drawn[..., 0]].sum() < is_drawn.sum(), "no channel was clamped"
    weights = random(n_cameras, count, 3)
    for value, other in zip(
        torch.autograd.grad((weights * found).sum(), leaves),
        torch.autograd.grad((weights * expected).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(value, other)


def test_kernels_agree_with_autograd_when_interpreted(interpret: Callable[..., None]) -> None:
    interpret(_INTERPRETED.format(folder=os.path.dirname(__file__)))


@pytest.mark.gpu
@pytest.mark.parametrize("n_cameras", [1, 4])
@pytest.mark.parametrize(("degree", "stored"), [(1, 1), (2, 2), (3, 3), (1, 3), (2, 3)])
def test_kernels_agree_with_autograd_on_a_gpu(degree: int, stored: int, n_cameras: int) -> None:
    check_kernels(degree, "cuda", n_cameras=n_cameras, stored_degree=stored, count=10_000)


def test_centres_are_those_of_the_inverse() -> None:
    viewmats = cameras(3, 8, 8)[0]
    expected = torch.linalg.inv(viewmats)[:, :3, 3]
    torch.testing.assert_close(camera_centres(viewmats), expected)


def test_a_pair_is_the_same_as_one_tensor() -> None:
    sh = torch.randn(5, 16, 3)
    torch.testing.assert_close(in_one((sh[:, :1], sh[:, 1:])), sh, rtol=0, atol=0)
    assert in_one(sh) is sh


def test_a_degree_beyond_the_coefficients_is_refused() -> None:
    pytest.importorskip("triton", reason="triton is not installed (it comes with torch for CUDA)")
    from gs_densify.rendering.gsplat.colors_triton import ViewColors

    means, sh0, shN = torch.zeros(2, 3), torch.zeros(2, 1, 3), torch.zeros(2, 3, 3)
    centres, radii = torch.zeros(1, 3), torch.ones(1, 2, 2, dtype=torch.int32)
    for degree in (0, 2, 4):
        with pytest.raises(ValueError, match=f"SH degree {degree}"):
            ViewColors.apply(means, sh0, shN, centres, radii, degree)
