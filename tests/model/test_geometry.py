"""Quaternions against scipy's rotations."""

import torch
from scipy.spatial.transform import Rotation

from gs_densify.model.geometry import quats_to_rotmats, rotate

GENERATOR = torch.Generator().manual_seed(0)
QUATS = torch.randn(50, 4, generator=GENERATOR, dtype=torch.float64)
VECTORS = torch.randn(50, 3, generator=GENERATOR, dtype=torch.float64)
ROTATIONS = Rotation.from_quat(QUATS[:, [1, 2, 3, 0]].numpy())


def test_matrices_are_scipys() -> None:
    torch.testing.assert_close(quats_to_rotmats(QUATS), torch.from_numpy(ROTATIONS.as_matrix()))


def test_vectors_are_turned_and_turned_back() -> None:
    unit = torch.nn.functional.normalize(QUATS, dim=-1)
    turned = rotate(unit, VECTORS)
    torch.testing.assert_close(turned, torch.from_numpy(ROTATIONS.apply(VECTORS.numpy())))
    back = torch.cat([-unit[:, :1], unit[:, 1:]], dim=1)
    torch.testing.assert_close(rotate(back, turned), VECTORS)
