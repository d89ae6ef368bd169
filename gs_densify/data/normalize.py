"""One similarity that takes a COLMAP world to a canonical one.

COLMAP's world is arbitrary up to rotation, translation and scale. Learning rates, thresholds and
viewers want a known one, which is derived here from what every model has:

* origin: the mean of the camera centres;
* scale: their mean distance to the origin becomes 1;
* z: the mean up direction of the cameras;
* x: among the directions orthogonal to z, the one in which the points spread most. A point at
  distance r from the origin (in camera units) weighs 1 / (1 + r^2), so that far background adds
  a bounded amount. The sign is the one that gives the first camera a positive x.

Each item follows the model through any similarity, so the result does not depend on the world
that COLMAP chose. Where an item is undefined (one camera, no up on average, points without a
preferred direction) the functions below name what stands in.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

_Reduce = Callable[[np.ndarray], Any]

_NEGLIGIBLE = 1e-6
"""Relative size below which a length or a difference of variances is taken as zero."""

MIN_CAMERA_DISTANCE = 1e-3
"""Points nearer to a camera centre than this fraction of the scene extent are no surface."""

LARGEST_COORDINATE = 1e18
"""Numbers up to here have squares that single precision holds; beyond they count as infinite."""


def camera_centers(cam_from_world: np.ndarray) -> np.ndarray:
    """Centres ``-R^T t`` [N, 3] of the rigid poses [N, 4, 4]."""
    return -np.einsum("nji,nj->ni", cam_from_world[:, :3, :3], cam_from_world[:, :3, 3])


def scene_extent(centers: np.ndarray, points: np.ndarray) -> float:
    """Largest distance of the camera centres [N, 3] to their mean.

    Where the centres coincide: the median distance of ``points`` [P, 3] to them, or else 1.
    """
    origin = centers.mean(axis=0)
    return _length(_distances(centers, origin), _distances(points, origin), np.max)


def camera_distance(centers: np.ndarray, points: np.ndarray) -> float:
    """Mean distance of the camera centres [N, 3] to their mean; as `scene_extent` without one."""
    origin = centers.mean(axis=0)
    return _length(_distances(centers, origin), _distances(points, origin), np.mean)


def normalizing_transform(cam_from_world: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Similarity [4, 4] that takes the given world to the canonical one described above.

    Args:
        cam_from_world: rigid poses [N, 4, 4], N >= 1, in the order that decides signs.
        points: finite points [P, 3]; P may be 0.
    """
    centers = camera_centers(cam_from_world)
    origin = centers.mean(axis=0)
    scale = 1.0 / camera_distance(centers, points)
    z = _mean_up(cam_from_world)
    x = _horizontal_axis(z, cam_from_world, (centers - origin) * scale, (points - origin) * scale)
    rotation = np.stack([x, np.cross(z, x), z])
    transform = np.eye(4)
    transform[:3, :3] = scale * rotation
    transform[:3, 3] = -scale * rotation @ origin
    return transform


def transform_points(similarity: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points [P, 3] taken through a similarity [4, 4]."""
    return points @ similarity[:3, :3].T + similarity[:3, 3]


def transform_poses(similarity: np.ndarray, cam_from_world: np.ndarray) -> np.ndarray:
    """Rigid poses [N, 4, 4] of the same cameras in the world after ``similarity`` [4, 4].

    Camera coordinates grow by the scale of the similarity; projections stay the same.
    """
    scale = np.cbrt(np.linalg.det(similarity[:3, :3]))
    poses = cam_from_world @ np.linalg.inv(similarity)
    poses[:, :3] *= scale
    return poses


def is_usable_point(points: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Mask [P] of the points [P, 3] that are finite and away from every camera centre [N, 3]."""
    usable = (np.abs(points) < LARGEST_COORDINATE).all(axis=1)  # False for NaN
    finite = points[usable]
    nearest, _ = cKDTree(centers).query(finite)
    usable[usable] = nearest > MIN_CAMERA_DISTANCE * scene_extent(centers, finite)
    return usable


def _distances(points: np.ndarray, origin: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.norm(points - origin, axis=1))


def _length(cameras: np.ndarray, points: np.ndarray, reduce: _Reduce) -> float:
    """A length scale from distances of cameras; from those of points where cameras coincide."""
    by_points = float(np.median(points)) if len(points) else 0.0
    by_cameras = float(reduce(cameras))
    if by_cameras > _NEGLIGIBLE * by_points:
        return by_cameras
    return by_points or 1.0


def _mean_up(cam_from_world: np.ndarray) -> np.ndarray:
    """Mean of the cameras' up directions (minus y); the first camera's where they cancel."""
    ups = -cam_from_world[:, 1, :3]
    mean = ups.mean(axis=0)
    up = mean if np.linalg.norm(mean) > 1e-3 else ups[0]
    return np.asarray(up / np.linalg.norm(up))


def _horizontal_axis(
    z: np.ndarray, cam_from_world: np.ndarray, centers: np.ndarray, points: np.ndarray
) -> np.ndarray:
    """Unit vector orthogonal to ``z``: where the points spread, or else a camera's direction."""
    offsets = [*centers, *cam_from_world[:, 2, :3]]
    axis = _principal_axis(z, points)
    if axis is None:
        return _first_direction(z, [*offsets, *np.eye(3)])
    sides = (float(offset @ axis) for offset in offsets)
    side = next((s for s in sides if abs(s) > 1e-3), 1.0)
    return axis if side > 0 else -axis


def _principal_axis(z: np.ndarray, points: np.ndarray) -> np.ndarray | None:
    """Direction of largest weighted variance orthogonal to ``z``; None where there is none."""
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
    """First candidate that is not parallel to ``z``, made orthogonal to it, as a unit vector."""
    for candidate in candidates:
        flat = candidate - (candidate @ z) * z
        length = np.linalg.norm(flat)
        if length > 0.1:
            return np.asarray(flat / length)
    raise ValueError("every candidate is parallel to z")
