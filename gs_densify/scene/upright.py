"""Which way is up in the photos of a scene."""

import numpy as np

from gs_densify.scene.normalize import mean_up

_TRUST = 0.003
"""What the mean up direction weighs beside the cameras' horizontals, whose squares sum up to 1."""


def up_of_photos(cam_from_world: np.ndarray) -> np.ndarray:
    """Returns the up direction, of unit length, that the photos show best.

    Photos are held level, so it is the one that is most orthogonal to all of the cameras' x axes.
    The mean of their up directions, which decides where these axes are all alike, leans towards
    where cameras look that look down from one side.

    Args:
        cam_from_world: rigid poses [N, 4, 4], N >= 1.
    """
    rights = cam_from_world[:, 0, :3]
    squares, axes = np.linalg.eigh(rights.T @ rights / len(rights))
    up = axes @ (axes.T @ mean_up(cam_from_world) / (squares + _TRUST))
    return np.asarray(up / np.linalg.norm(up))
