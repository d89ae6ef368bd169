"""Similarities that take a COLMAP world to a canonical one.

COLMAP's world is arbitrary up to rotation, translation and scale. Learning rates, thresholds and
viewers want a known one. The world ``cameras`` is derived from what every model has:

* origin: the mean of the camera centres;
* scale: their mean distance to the origin becomes 1;
* z: the mean up direction of the cameras;
* x: among the directions orthogonal to z, the one in which the points spread most. A point at
  distance r from the origin (in camera units) weighs 1 / (1 + r^2), so that far background adds
  a bounded amount. The sign is the one that gives the first camera a positive x.

Cameras far away from all others, which SfM or GPS misplaced, are left out (see ``extent``).

Each item follows the model through any similarity, so the result does not depend on the world
that COLMAP chose. Where an item is undefined (one camera, no up on average, points without a
preferred direction) the functions below name what stands in.

The world ``focus`` is the one in which gsplat 1.5.3's examples train (``similarity_from_cameras``
and ``align_principal_axes`` of its COLMAP parser):

* scale: the median distance of the camera centres to the focus becomes 1. The focus is the median,
  over the cameras, of the point on each optical axis that is nearest to COLMAP's origin. Medians of
  points are taken by coordinate, in axes in which the shortest rotation has brought the mean up
  direction of the cameras to -y.
* origin: the median of the points, in the same axes;
* x, y, z: the principal axes of the points, from the longest to the shortest, every point weighing
  the same; z points to where the points' mean lies above their median. The sign of x, which gsplat
  leaves to the eigenvalue solver, is the one that gives the first camera a positive x.

It depends on the world that COLMAP chose: on its origin, and a little on its axes, since medians
are taken by coordinate. Far points can turn it; its scale does not depend on the points.
"""

from collections.abc import Iterable
from typing import Literal

import numpy as np
from scipy.spatial import cKDTree

from gs_densify.scene.extent import camera_distance, cameras_radius, length_of, odd_cameras

World = Literal["cameras", "focus", "none"]
"""The worlds described above, and COLMAP's own."""

_NEGLIGIBLE = 1e-6
"""Relative size below which a difference of variances is taken as zero."""

MIN_CAMERA_DISTANCE = 1e-3
"""Points nearer to a camera centre than this fraction of the cameras' radius are no surface."""

LARGEST_COORDINATE = 1e18
"""Numbers up to here have squares that single precision holds; beyond they count as infinite."""


def camera_centers(cam_from_world: np.ndarray) -> np.ndarray:
    """Centres ``-R^T t`` [N, 3] of the rigid poses [N, 4, 4]."""
    return -np.einsum("nji,nj->ni", cam_from_world[:, :3, :3], cam_from_world[:, :3, 3])


def normalizing_transform(
    cam_from_world: np.ndarray, points: np.ndarray, world: World = "cameras"
) -> np.ndarray:
    """Returns the similarity [4, 4] that takes the given world to one of those described above.

    Args:
        cam_from_world: rigid poses [N, 4, 4], N >= 1, in the order that decides signs.
        points: finite points [P, 3]; P may be 0.
        world: where to; ``none`` gives the identity.
    """
    if world == "none":
        return np.eye(4)
    return (_to_cameras if world == "cameras" else _to_focus)(cam_from_world, points)


def mean_up(cam_from_world: np.ndarray) -> np.ndarray:
    """Returns the mean of the cameras' up directions (minus y), of unit length.

    Where they cancel it is the first's.

    Args:
        cam_from_world: rigid poses [N, 4, 4], N >= 1.
    """
    ups = -cam_from_world[:, 1, :3]
    mean = ups.mean(axis=0)
    up = mean if np.linalg.norm(mean) > 1e-3 else ups[0]
    return np.asarray(up / np.linalg.norm(up))


def transform_points(similarity: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Returns points [P, 3] taken through a similarity [4, 4]."""
    return points @ similarity[:3, :3].T + similarity[:3, 3]


def transform_poses(similarity: np.ndarray, cam_from_world: np.ndarray) -> np.ndarray:
    """Returns rigid poses [N, 4, 4] of the same cameras in the world after ``similarity`` [4, 4].

    Camera coordinates grow by the scale of the similarity; projections stay the same.
    """
    scale = np.cbrt(np.linalg.det(similarity[:3, :3]))
    poses = cam_from_world @ np.linalg.inv(similarity)
    poses[:, :3] *= scale
    return poses


def is_usable_point(points: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Returns the mask [P] of the points [P, 3] that can be used.

    They are finite, and away from every camera centre [N, 3].
    """
    usable = (np.abs(points) < LARGEST_COORDINATE).all(axis=1)  # False for NaN
    finite = points[usable]
    nearest, _ = cKDTree(centers).query(finite, workers=-1)
    usable[usable] = nearest > MIN_CAMERA_DISTANCE * cameras_radius(centers, finite)
    return usable


def _to_cameras(cam_from_world: np.ndarray, points: np.ndarray) -> np.ndarray:
    is_odd = odd_cameras(camera_centers(cam_from_world), points)
    cam_from_world = cam_from_world[~is_odd]
    centers = camera_centers(cam_from_world)
    origin = centers.mean(axis=0)
    scale = 1.0 / camera_distance(centers, points)
    z = mean_up(cam_from_world)
    x = _horizontal_axis(z, cam_from_world, (centers - origin) * scale, (points - origin) * scale)
    return _similarity(scale, np.stack([x, np.cross(z, x), z]), origin)


def _to_focus(cam_from_world: np.ndarray, points: np.ndarray) -> np.ndarray:
    upright = _upright(mean_up(cam_from_world))
    centers = camera_centers(cam_from_world) @ upright.T
    forward = cam_from_world[:, 2, :3] @ upright.T
    points = points @ upright.T
    along = np.einsum("ni,ni->n", centers, forward)
    focus = np.median(centers - along[:, None] * forward, axis=0)
    unit = length_of(
        np.linalg.norm(centers - focus, axis=1), np.linalg.norm(points - focus, axis=1), np.median
    )
    middle = np.median(points, axis=0) if len(points) else focus
    axes = _principal_axes(points - middle, (centers - middle) / unit)
    return _similarity(1.0 / unit, axes @ upright, middle @ upright)


def _similarity(scale: float, rotation: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Returns the map x -> scale rotation (x - origin), [4, 4]."""
    transform = np.eye(4)
    transform[:3, :3] = scale * rotation
    transform[:3, 3] = -scale * rotation @ origin
    return transform


def _upright(up: np.ndarray) -> np.ndarray:
    """Returns the shortest rotation [3, 3] that takes the unit vector ``up`` to -y (Rodrigues'
    formula).
    """
    down = np.array([0.0, -1.0, 0.0])
    cosine = up @ down
    if cosine < -1 + 1e-12:
        return np.diag([1.0, -1.0, -1.0])  # half a turn about x: all are equally short
    x, y, z = np.cross(up, down)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.asarray(np.eye(3) + cross + cross @ cross / (1 + cosine))


def _principal_axes(points: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Returns rows x, y, z of a rotation [3, 3] from points and camera centres about one origin."""
    spread = points - points.mean(axis=0) if len(points) else points
    _, axes = np.linalg.eigh(spread.T @ spread)  # from the least variance to the largest
    heights = points @ axes[:, 0]
    is_upside_down = len(heights) and np.median(heights) > heights.mean()
    z = -axes[:, 0] if is_upside_down else axes[:, 0]
    x = _towards(axes[:, 2], centers)
    return np.stack([x, np.cross(z, x), z])


def _horizontal_axis(
    z: np.ndarray, cam_from_world: np.ndarray, centers: np.ndarray, points: np.ndarray
) -> np.ndarray:
    """Returns a unit vector orthogonal to ``z``: where the points spread, or else a camera's
    direction.
    """
    offsets = [*centers, *cam_from_world[:, 2, :3]]
    axis = _principal_axis(z, points)
    if axis is None:
        return _first_direction(z, [*offsets, *np.eye(3)])
    return _towards(axis, offsets)


def _towards(axis: np.ndarray, offsets: Iterable[np.ndarray]) -> np.ndarray:
    """Returns ``axis`` or its opposite: the side of the first offset that is off its plane."""
    sides = (float(offset @ axis) for offset in offsets)
    side = next((s for s in sides if abs(s) > 1e-3), 1.0)
    return axis if side > 0 else -axis


def _principal_axis(z: np.ndarray, points: np.ndarray) -> np.ndarray | None:
    """Returns the direction of largest weighted variance orthogonal to ``z``; None where there is
    none.
    """
    u = _first_direction(z, np.eye(3))
    v = np.cross(z, u)
    weights = 1.0 / (1.0 + np.square(points).sum(axis=1))
    flat = points @ np.stack([u, v], axis=1)
    total = max(float(weights.sum()), 1e-300)
    flat = flat - (weights @ flat) / total
    variances, axes = np.linalg.eigh((flat * weights[:, None]).T @ flat / total)
    if not variances[1] - variances[0] > _NEGLIGIBLE * variances[1]:
        return None
    axis = axes[0, 1] * u + axes[1, 1] * v
    return np.asarray(axis / np.linalg.norm(axis))


def _first_direction(z: np.ndarray, candidates: Iterable[np.ndarray]) -> np.ndarray:
    """Returns the first candidate that is not parallel to ``z``, made orthogonal to it, as a unit
    vector.
    """
    for candidate in candidates:
        flat = candidate - (candidate @ z) * z
        length = np.linalg.norm(flat)
        if length > 0.1:
            return np.asarray(flat / length)
    raise ValueError("every candidate is parallel to z")
