import math

import pytest
import torch
import torch.nn.functional as F
from gsplat.cuda._torch_impl import _spherical_harmonics

from gs_densify.model.sh import eval_sh, rgb_to_sh0, rotate_sh, sh0_to_rgb, sh_bases


def directions(n: int) -> torch.Tensor:
    return F.normalize(torch.randn(n, 3, dtype=torch.float64), dim=-1)


def random_rotation() -> torch.Tensor:
    q, r = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))
    q = q * r.diagonal().sign()
    return q * torch.linalg.det(q).sign()


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_equals_gsplats_torch_implementation(degree):
    dirs, coeffs = 3 * directions(50), torch.randn(50, 16, 3, dtype=torch.float64)
    expected = _spherical_harmonics(degree, dirs, coeffs)
    torch.testing.assert_close(eval_sh(degree, dirs, coeffs), expected, rtol=1e-12, atol=1e-12)


def test_bases_are_orthonormal_on_the_sphere():
    # Gauss-Legendre in z and equal steps in azimuth integrate degree 6 exactly.
    angles = torch.arange(16, dtype=torch.float64) * (2 * math.pi / 16)
    nodes, weights = _gauss_legendre(8)
    radius = (1 - nodes**2).sqrt()[:, None]
    z = nodes[:, None].expand(-1, 16)
    dirs = torch.stack([radius * angles.cos(), radius * angles.sin(), z], dim=-1)
    bases = sh_bases(3, dirs)
    gram = torch.einsum("zak,zal,z->kl", bases, bases, weights) * (2 * math.pi / 16)
    torch.testing.assert_close(gram, torch.eye(16, dtype=torch.float64), rtol=0, atol=1e-12)


def _gauss_legendre(n):
    """Golub and Welsch 1969: nodes and weights from the Jacobi matrix's eigenvectors."""
    k = torch.arange(1, n, dtype=torch.float64)
    off = k / (4 * k**2 - 1).sqrt()
    values, vectors = torch.linalg.eigh(torch.diag(off, 1) + torch.diag(off, -1))
    return values, 2 * vectors[0] ** 2


def test_broadcasts_coefficients_over_cameras():
    dirs, coeffs = torch.randn(2, 5, 3), torch.randn(5, 9, 3)
    each = torch.stack([eval_sh(2, d, coeffs) for d in dirs])
    torch.testing.assert_close(eval_sh(2, dirs, coeffs[None]), each)


def test_gradients_reach_directions_and_used_coefficients():
    dirs = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    coeffs = torch.randn(4, 16, 3, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(lambda d, c: eval_sh(3, d, c), (dirs, coeffs))
    eval_sh(2, dirs, coeffs).sum().backward()
    assert coeffs.grad[:, :9].abs().min() > 0
    assert coeffs.grad[:, 9:].abs().max() == 0


def test_a_colour_and_its_coefficient():
    rgb = torch.rand(7, 3, dtype=torch.float64)
    sh0 = rgb_to_sh0(rgb)
    torch.testing.assert_close(sh0_to_rgb(sh0), rgb)
    torch.testing.assert_close(eval_sh(0, torch.randn(7, 3).double(), sh0[:, None]) + 0.5, rgb)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("mirror", [False, True])
def test_rotating_coefficients_rotates_the_function(degree, mirror):
    coeffs = torch.randn(6, (degree + 1) ** 2, 3, dtype=torch.float64)
    dirs, R = directions(6), random_rotation()
    if mirror:
        R = R @ torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))
    turned = eval_sh(degree, dirs @ R.T, rotate_sh(coeffs, R))
    torch.testing.assert_close(turned, eval_sh(degree, dirs, coeffs), rtol=1e-11, atol=1e-11)


def test_rotations_compose_and_keep_the_dtype():
    coeffs = torch.randn(3, 16, 3)
    first, second = random_rotation(), random_rotation()
    twice = rotate_sh(rotate_sh(coeffs, first), second)
    assert twice.dtype == torch.float32
    torch.testing.assert_close(twice, rotate_sh(coeffs, second @ first), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(rotate_sh(coeffs, torch.eye(3)), coeffs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "call",
    [
        lambda: eval_sh(4, torch.randn(2, 3), torch.randn(2, 25, 3)),
        lambda: eval_sh(-1, torch.randn(2, 3), torch.randn(2, 25, 3)),
        lambda: eval_sh(2, torch.randn(2, 3), torch.randn(2, 4, 3)),
        lambda: rotate_sh(torch.randn(2, 5, 3), torch.eye(3)),
        lambda: rotate_sh(torch.randn(2, 4, 3), 2 * torch.eye(3)),
    ],
)
def test_what_cannot_be_evaluated_is_an_error(call):
    with pytest.raises(ValueError, match=r"SH|orthogonal"):
        call()
