"""Real spherical harmonics of degree 0 to 3: colour as a function of the viewing direction.

The basis, its signs and its order are those of 3DGS (Kerbl et al. 2023) and gsplat: within a degree
l the order m runs from -l to l, with the Condon-Shortley phase.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_DEGREE = 3

# Normalisations K_l^m of Sloan, "Stupid Spherical Harmonics Tricks" (2008), appendix A2.
C0 = math.sqrt(1 / (4 * math.pi))
C1 = math.sqrt(3 / (4 * math.pi))
C2_2 = math.sqrt(15 / (4 * math.pi))
C2_0 = math.sqrt(5 / (16 * math.pi))
C3_3 = math.sqrt(35 / (32 * math.pi))
C3_2 = math.sqrt(105 / (4 * math.pi))
C3_1 = math.sqrt(21 / (32 * math.pi))
C3_0 = math.sqrt(7 / (16 * math.pi))


def num_sh_bases(degree: int) -> int:
    """Coefficients per colour channel up to and including `degree`.

    Raises:
        ValueError: a degree outside 0 to 3.
    """
    if not 0 <= degree <= MAX_DEGREE:
        raise ValueError(f"SH degree {degree}; expected 0 to {MAX_DEGREE}")
    return (degree + 1) ** 2


def sh_bases(degree: int, dirs: Tensor) -> Tensor:
    """Returns the basis functions at unit directions: [..., 3] -> [..., (degree + 1)^2]."""
    num_sh_bases(degree)
    x, y, z = dirs.unbind(-1)
    bases = [torch.full_like(x, C0)]
    if degree >= 1:
        bases += [-C1 * y, C1 * z, -C1 * x]
    if degree >= 2:
        zz, difference, product = z * z, x * x - y * y, x * y
        bases += [
            C2_2 * product,
            -C2_2 * y * z,
            C2_0 * (3 * zz - 1),
            -C2_2 * x * z,
            0.5 * C2_2 * difference,
        ]
    if degree >= 3:
        bases += [
            -C3_3 * y * (2 * x * x + difference),
            C3_2 * product * z,
            -C3_1 * y * (5 * zz - 1),
            C3_0 * z * (5 * zz - 3),
            -C3_1 * x * (5 * zz - 1),
            0.5 * C3_2 * z * difference,
            -C3_3 * x * (difference - 2 * y * y),
        ]
    return torch.stack(bases, dim=-1)


def eval_sh(degree: int, dirs: Tensor, coeffs: Tensor) -> Tensor:
    """Returns the sum of coefficients times basis functions, without the +0.5 offset of colours.

    Args:
        degree: 0 to 3.
        dirs: [..., 3] viewing directions of any non-zero length.
        coeffs: [..., K, 3] with K >= (degree + 1)^2; the rest is ignored. Leading dimensions
            broadcast against those of `dirs`.

    Returns:
        [..., 3].

    Raises:
        ValueError: a degree outside 0 to 3, or too few coefficients for it.
    """
    n_bases = num_sh_bases(degree)
    if coeffs.shape[-2] < n_bases:
        raise ValueError(
            f"{coeffs.shape[-2]} SH coefficients; degree {degree} needs at least {n_bases}"
        )
    if degree == 0:
        return (C0 * coeffs[..., 0, :]).expand_as(dirs)
    bases = sh_bases(degree, F.normalize(dirs, dim=-1))
    return torch.einsum("...k,...kc->...c", bases, coeffs[..., :n_bases, :])


def rgb_to_sh0(rgb: Tensor) -> Tensor:
    """Returns the degree-0 coefficient of a colour in [0, 1], of any shape."""
    return (rgb - 0.5) / C0


def sh0_to_rgb(sh0: Tensor) -> Tensor:
    """Returns the colour of a degree-0 coefficient, of any shape; not clamped."""
    return sh0 * C0 + 0.5


def rotate_sh(coeffs: Tensor, R: Tensor) -> Tensor:
    """Coefficients of the rotated function: `eval(rotate_sh(c, R), R d) == eval(c, d)`.

    A rotation maps each degree onto itself, so per degree there is one matrix D with
    `Y(R d) D = Y(d)`, solved here in float64 from more fixed directions than unknowns.

    Args:
        coeffs: [N, K, 3], K of 1, 4, 9 or 16.
        R: [3, 3] rotation (a reflection is allowed as well).

    Returns:
        [N, K, 3] of the dtype and device of `coeffs`.

    Raises:
        ValueError: a K that is no full degree, or a matrix that is not orthogonal.
    """
    degree = math.isqrt(coeffs.shape[-2]) - 1
    if coeffs.shape[-2] != num_sh_bases(degree):
        raise ValueError(f"{coeffs.shape[-2]} SH coefficients; expected 1, 4, 9 or 16")
    R = R.detach().to("cpu", torch.float64)
    if not torch.allclose(R @ R.T, torch.eye(3, dtype=torch.float64), atol=1e-4):
        raise ValueError("The matrix is not orthogonal; expected a rotation without scale")
    dirs = _directions()
    before, after = sh_bases(degree, dirs), sh_bases(degree, F.normalize(dirs @ R.T, dim=-1))
    rotated = [coeffs[:, :1]]
    for band in range(1, degree + 1):
        span = slice(band**2, (band + 1) ** 2)
        matrix = torch.linalg.lstsq(after[:, span], before[:, span]).solution
        rotated.append(torch.einsum("ij,njc->nic", matrix.to(coeffs), coeffs[:, span]))
    return torch.cat(rotated, dim=1)


@lru_cache(maxsize=1)
def _directions(count: int = 64) -> Tensor:
    """Returns unit directions on a Fibonacci lattice, [count, 3] in float64."""
    index = torch.arange(count, dtype=torch.float64)
    z = 1 - (2 * index + 1) / count
    azimuth = index * math.pi * (3 - math.sqrt(5))
    radius = torch.sqrt(1 - z * z)
    return torch.stack([radius * azimuth.cos(), radius * azimuth.sin(), z], dim=-1)
