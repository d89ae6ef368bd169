"""Rotations of Gaussians. Quaternions are wxyz and need not be normalised."""

import torch
from torch import Tensor


def quats_to_rotmats(quats: Tensor) -> Tensor:
    """Returns rotation matrices [..., 3, 3] of quaternions [..., 4] (wxyz, any length but zero)."""
    w, x, y, z = torch.nn.functional.normalize(quats, dim=-1).unbind(-1)
    rows = (
        *(1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        *(2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        *(2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack(rows, dim=-1).reshape(*quats.shape[:-1], 3, 3)


def covariances(quats: Tensor, scales: Tensor) -> Tensor:
    """Returns covariances R diag(s^2) R^T, [..., 3, 3], from quats [..., 4] and linear scales [...,
    3].
    """
    half = quats_to_rotmats(quats) * scales[..., None, :]
    return half @ half.transpose(-1, -2)


def rotate(quats: Tensor, vectors: Tensor) -> Tensor:
    """Returns R v [..., 3] of unit quaternions [..., 4] (wxyz) and vectors [..., 3].

    Without the matrices, whose products are slow for millions of them; a quaternion with its w
    negated turns back.
    """
    w, axis = quats[..., :1], quats[..., 1:]
    across = 2 * torch.linalg.cross(axis, vectors)
    return vectors + w * across + torch.linalg.cross(axis, across)
