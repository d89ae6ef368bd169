"""Other conventions of poses, as programs that are not COLMAP write them: does one of them fit?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from gs_densify.errors import SceneError

_ALIKE = 0.8
"""Readings with so much of the best one's score cannot be told apart."""
_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
_Z_UP = np.array([[1.0, 0, 0, 0], [0, 0, 1.0, 0], [0, -1.0, 0, 0], [0, 0, 0, 1.0]])


@dataclass(frozen=True)
class Reading:
    """A convention: how poses [N, 4, 4] that follow it become COLMAP's, and what to do."""

    name: str
    """Completes `the poses seem to be ...`."""
    action: str
    correct: Callable[[np.ndarray], np.ndarray]


def _centers_as_translations(poses: np.ndarray) -> np.ndarray:
    corrected = poses.copy()
    corrected[:, :3, 3] = -np.einsum("nij,nj->ni", poses[:, :3, :3], poses[:, :3, 3])
    return corrected


def _shifted_quaternions(poses: np.ndarray) -> np.ndarray:
    corrected = poses.copy()
    x, y, z, w = Rotation.from_matrix(poses[:, :3, :3]).as_quat().T
    # The file has x y z w where w x y z is read: what was read as w is x, and so on.
    corrected[:, :3, :3] = Rotation.from_quat(np.stack([w, x, y, z], axis=1)).as_matrix()
    return corrected


READINGS = (
    Reading(
        "in OpenGL's axes (y up, z backwards)",
        "negate the second and third row of every rotation and translation (COLMAP: y down, z"
        " forward)",
        lambda poses: _OPENGL @ poses,
    ),
    Reading(
        "from camera to world",
        "write their inverses (COLMAP: from world to camera)",
        np.linalg.inv,
    ),
    Reading(
        "from camera to world in OpenGL's axes (y up, z backwards)",
        "negate the second and third column of every rotation, then write the inverses (COLMAP:"
        " from world to camera, y down, z forward)",
        lambda poses: _OPENGL @ np.linalg.inv(poses),
    ),
    Reading(
        "rotations with the cameras' centres in place of translations",
        "write -R C as translation, where C is the centre",
        _centers_as_translations,
    ),
    Reading(
        "quaternions in the order x y z w",
        "write them as w x y z",
        _shifted_quaternions,
    ),
    Reading(
        "in a world with y and z negated to that of the points",
        "negate y and z of every point",
        lambda poses: poses @ _OPENGL,
    ),
    Reading(
        "in a world in which y is -z of the points",
        "write x, -z, y for every point",
        lambda poses: poses @ np.linalg.inv(_Z_UP),
    ),
    Reading(
        "in a world in which y is z of the points",
        "write x, z, -y for every point",
        lambda poses: poses @ _Z_UP,
    ),
)


def fitting(scores: Sequence[float], least: float) -> list[Reading]:
    """Returns the readings with scores of at least `least` that are not far below the best."""
    best = max(scores)
    pairs = zip(READINGS, scores, strict=True)
    return [one for one, score in pairs if score >= max(least, _ALIKE * best)]


def misread(found: str, readings: Sequence[Reading]) -> SceneError:
    """Returns what to raise where poses fit in other conventions than COLMAP's."""
    return SceneError(
        f"{found}: the poses seem to be {', or '.join(one.name for one in readings)}",
        expected="expected COLMAP's: from world to camera, x right, y down, z forward",
        action=", or ".join(one.action for one in readings),
    )
