"""Which points pinhole cameras have in their pictures."""

from collections.abc import Sequence

import numpy as np

_MOST_POINTS = 2000

Camera = tuple[np.ndarray, np.ndarray, tuple[int, int]]
"""[4, 4] from world to camera, [3, 3] in pixels, width and height."""


def points_in_view(
    poses: np.ndarray, K: np.ndarray, sizes: np.ndarray, points: np.ndarray
) -> np.ndarray:
    """Returns how many points [P, 3] each of N cameras has in its picture, whatever hides them.

    Args:
        poses: [N, 4, 4], from world to camera.
        K: [N, 3, 3] in pixels.
        sizes: [N, 2] widths and heights in pixels.
        points: in the world of the poses.
    """
    cameras = zip(poses, K, sizes, strict=True)
    return np.array([len(pixels_in_view(*camera, points)) for camera in cameras], dtype=np.int64)


def pixels_in_view(
    pose: np.ndarray, K: np.ndarray, size: np.ndarray, points: np.ndarray
) -> np.ndarray:
    """Returns the pixels [n, 2] of those points [P, 3] that a camera has in its picture."""
    return _in_view(pose, K, size, points)[0]


def depths_in_view(camera: Camera, points: np.ndarray) -> np.ndarray:
    """Returns the depths [n] of those points [P, 3] that a camera has in its picture."""
    return _in_view(*camera, points)[1]


def _in_view(
    pose: np.ndarray, K: np.ndarray, size: np.ndarray | tuple[int, int], points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    pixels, depths = project_pinhole(pose, K, points)
    inside = ((pixels >= 0) & (pixels < size)).all(axis=1) & (depths > 0)
    return pixels[inside], depths[inside]


def project_pinhole(
    pose: np.ndarray, K: np.ndarray, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns pixels [P, 2] and depths [P] of points [P, 3]; pixels mean nothing behind a camera.

    Args:
        pose: [4, 4], from world to camera.
        K: [3, 3] in pixels.
        points: in the world of the pose.
    """
    positions = points @ pose[:3, :3].T + pose[:3, 3]
    depths = positions[:, 2]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        pixels = positions[:, :2] / depths[:, None] * [K[0, 0], K[1, 1]] + K[:2, 2]
    return pixels, depths


def some_of(points: np.ndarray) -> np.ndarray:
    """Returns at most 2,000 of the points [P, 3], evenly spaced in their order."""
    return points[:: -(-len(points) // _MOST_POINTS) or 1]


def typical_depth(cameras: Sequence[Camera], points: np.ndarray) -> float:
    """Returns the median over the cameras of the median depth of points [P, 3] in the picture.

    Of more than 2,000 points evenly spaced ones are looked at. It is NaN where no camera has any.
    """
    some = some_of(points)
    seen = [depths for camera in cameras if len(depths := depths_in_view(camera, some))]
    return float(np.median([np.median(depths) for depths in seen])) if seen else float("nan")
