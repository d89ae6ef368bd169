"""Gaussians carried to another world frame."""

import math

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from gs_densify.errors import ConfigError
from gs_densify.model.sh import rotate_sh
from gs_densify.model.types import Splats


def transform_splats(splats: Splats, transform: Tensor | np.ndarray) -> dict[str, Tensor]:
    """Returns the Gaussians moved by a similarity x -> s R x + t.

    A covariance becomes s^2 R S R^T and the colour seen along R d is the one that was seen along d.
    Other entries than the six parameters are left out.

    Args:
        splats: the parameters, `means [N,3], scales [N,3] (log), quats [N,4] (wxyz), opacities [N],
            sh0 [N,1,3], shN [N,K-1,3]`.
        transform: [4, 4].

    Raises:
        ConfigError: where `transform` is no similarity that keeps handedness.
    """
    rotation, scale, shift = _split_similarity(transform)
    means, quats = splats["means"].detach(), splats["quats"].detach()
    coefficients = torch.cat([splats["sh0"].detach(), splats["shN"].detach()], dim=1)
    coefficients = rotate_sh(coefficients, rotation)
    # The positions of a georeferenced scene need float64 on the way.
    moved = means.double() @ (scale * rotation).T.to(means.device) + shift.to(means.device)
    x, y, z, w = Rotation.from_matrix(rotation.numpy()).as_quat()
    turn = torch.tensor([w, x, y, z], dtype=torch.float64, device=quats.device)
    return {
        "means": moved.to(means.dtype),
        "scales": splats["scales"].detach() + math.log(scale),
        "quats": _multiply_quats(turn, quats.double()).to(quats.dtype),
        "opacities": splats["opacities"].detach(),
        "sh0": coefficients[:, :1],
        "shN": coefficients[:, 1:],
    }


def _split_similarity(
    transform: Tensor | np.ndarray,
) -> tuple[Tensor, float, Tensor]:
    """Returns R [3, 3], s and t [3] in float64 on the CPU."""
    matrix = torch.as_tensor(transform).detach().to("cpu", torch.float64)
    if matrix.shape != (4, 4) or not bool(matrix.isfinite().all()):
        raise ConfigError(
            f"world transform {list(matrix.shape)} is no finite 4x4 matrix",
            action="pass a similarity",
        )
    last = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    determinant = float(torch.linalg.det(matrix[:3, :3]))
    scale = max(determinant, 0.0) ** (1 / 3)
    rotation = matrix[:3, :3] / scale if scale > 0 else torch.zeros(3, 3, dtype=torch.float64)
    identity = torch.eye(3, dtype=torch.float64)
    if not torch.allclose(rotation @ rotation.T, identity, atol=1e-5) or not torch.equal(
        matrix[3], last
    ):
        raise ConfigError(
            f"world transform (determinant {determinant:.3g}) is no similarity",
            expected="expected a rotation times one positive scale, a shift, and a last row of 0 0"
            " 0 1",
        )
    return rotation, scale, matrix[:3, 3]


def _multiply_quats(left: Tensor, right: Tensor) -> Tensor:
    """Returns the Hamilton product of wxyz quaternions, [4] and [N, 4]."""
    w, v = left[0], left[1:]
    real, imaginary = right[:, :1], right[:, 1:]
    cross = torch.linalg.cross(v.expand_as(imaginary), imaginary)
    return torch.cat(
        [w * real - (imaginary @ v)[:, None], w * imaginary + real * v + cross], dim=-1
    )
