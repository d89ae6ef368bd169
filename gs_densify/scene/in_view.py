"""Which points pinhole cameras have in their pictures."""

import numpy as np


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
    pixels, depths = project_pinhole(pose, K, points)
    inside = ((pixels >= 0) & (pixels < size)).all(axis=1)
    return pixels[inside & (depths > 0)]


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
