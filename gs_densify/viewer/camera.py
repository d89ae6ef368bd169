"""The camera of a browser window: a pinhole whose principal point is the middle of the window.

Poses are in OpenCV axes (x right, y down, z forward), as viser's and ours.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.spatial.transform import Rotation

from gs_densify.scene.normalize import camera_centers
from gs_densify.scene.scene import View

_SAME = 1e-3
"""Radians, and share of the distance from the origin, that a browser may be off."""


@dataclass(frozen=True)
class Camera:
    """Where a window looks from, whatever its size in pixels."""

    wxyz: tuple[float, float, float, float]
    """Rotation from the camera to the world."""
    position: tuple[float, float, float]
    fov: float
    """Vertical field of view in radians."""
    aspect: float
    """Width over height of what is seen at depth 1."""

    def viewmat(self) -> np.ndarray:
        """World to camera, [4, 4] float64."""
        w, x, y, z = self.wxyz
        viewmat = np.eye(4)
        viewmat[:3, :3] = Rotation.from_quat([x, y, z, w]).as_matrix().T
        viewmat[:3, 3] = -viewmat[:3, :3] @ self.position
        return viewmat

    def intrinsics(self, width: int, height: int) -> np.ndarray:
        """K [3, 3] float64 of a picture that fills the window, whatever its size in pixels."""
        half = math.tan(self.fov / 2)
        fx, fy = width / (2 * half * self.aspect), height / (2 * half)
        return np.array([[fx, 0, width / 2], [0, fy, height / 2], [0, 0, 1]])

    def is_at(self, other: "Camera") -> bool:
        """Returns whether the other one looks from the same place in the same direction."""
        turn = Rotation.from_quat([_xyzw(self), _xyzw(other)])
        angle = (turn[0].inv() * turn[1]).magnitude()
        distance = math.dist(self.position, other.position)
        return bool(angle < _SAME and distance < _SAME * (1 + math.hypot(*self.position)))


def _xyzw(camera: Camera) -> tuple[float, float, float, float]:
    w, x, y, z = camera.wxyz
    return x, y, z, w


def camera_of(view: View) -> Camera:
    """Returns the camera of a photo, as if its principal point were in the middle."""
    return camera_from(
        view.cam_from_world[:3, :3].T,
        camera_centers(view.cam_from_world[None])[0],
        view.width / (2 * view.K[0, 0]),
        view.height / (2 * view.K[1, 1]),
    )


def camera_from(
    world_from_cam: np.ndarray, center: np.ndarray, half_width: float, half_height: float
) -> Camera:
    """Returns a camera from its rotation [3, 3], its centre [3], and half of what it sees at depth
    1.
    """
    x, y, z, w = Rotation.from_matrix(world_from_cam).as_quat()
    px, py, pz = center
    return Camera(
        (float(w), float(x), float(y), float(z)),
        (float(px), float(py), float(pz)),
        2 * math.atan(half_height),
        float(half_width / half_height),
    )


class Seen(Protocol):
    """What has an upright rectangle of the view in it."""

    @property
    def fov(self) -> float:
        """Returns its vertical field of view in radians."""

    @property
    def aspect(self) -> float:
        """Returns its width over its height."""


def fov_that_shows(seen: Seen, aspect: float) -> float:
    """Returns the vertical field of view with which a window of `aspect` shows all that is seen."""
    half = math.tan(seen.fov / 2)
    return 2 * math.atan(half * max(1.0, seen.aspect / aspect))
