"""How large a scene is, by its cameras and by what they see, whatever one odd camera says.

The radius of the cameras is the length that 3DGS measures a scene by. It fails in two ways. One
camera that SfM or GPS put far away is the radius of all: so odd cameras are left out. And cameras
close to each other, before something far away, have a radius that says nothing of what they see:
where half the depth of that is larger, it is the extent. In captures around or inside a scene the
depth is 0.5 to 1.7 radii, so that there the extent is the radius.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

ODD = 10.0
"""Cameras are odd beyond so many distances in which the others, or half of the points, lie."""
ODD_SHARE = 0.1
"""Largest share of odd cameras: of more, none is odd."""

_DEPTH_SHARE = 0.5
_FEWEST = 3
"""Of two cameras neither is the odd one."""
_MOST_CANDIDATES = 200
_NEGLIGIBLE = 1e-6
"""Relative size below which the cameras' distances are taken as zero."""

_Reduce = Callable[[np.ndarray], Any]


def odd_cameras(centers: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Returns the mask [N] of cameras that lie far away from all others and from the points.

    Distances are to the camera in the middle, which has the least median distance to the others
    (of many cameras 200, evenly spaced, are asked). Odd is what lies 10 times as far away as nine
    tenths of the cameras and as half of the points.

    Args:
        centers: [N, 3] camera centres.
        points: [P, 3], finite; P may be 0.
    """
    count = len(centers)
    if count < _FEWEST:
        return np.zeros(count, dtype=bool)
    candidates = centers[:: -(-count // _MOST_CANDIDATES)]
    middle = candidates[np.median(cdist(candidates, centers), axis=1).argmin()]
    distances = _distances(centers, middle)
    usual = np.sort(distances)[count - 1 - max(1, int(count * ODD_SHARE))]
    seen = np.median(_distances(points, middle)) if len(points) else 0.0
    return np.asarray(distances > ODD * max(usual, seen))


def cameras_middle(centers: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Returns the mean [3] of the camera centres [N, 3], odd ones left out."""
    return np.asarray(centers[~odd_cameras(centers, points)].mean(axis=0))


def cameras_radius(centers: np.ndarray, points: np.ndarray) -> float:
    """Returns the largest distance of the camera centres [N, 3] to their middle, but for odd ones.

    Where the centres coincide: the median distance of ``points`` [P, 3] to them, or else 1.
    """
    return _of_cameras(centers, points, np.max)


def camera_distance(centers: np.ndarray, points: np.ndarray) -> float:
    """Returns the mean distance of the camera centres [N, 3] to their middle, but for odd ones.

    Where the centres coincide it is as for `cameras_radius`.
    """
    return _of_cameras(centers, points, np.mean)


def extent_of(radius: float, depth: float) -> float:
    """Returns the extent of a scene whose cameras see things at a typical ``depth``, or at NaN."""
    return float(np.fmax(radius, _DEPTH_SHARE * depth))


def length_of(cameras: np.ndarray, points: np.ndarray, reduce: _Reduce) -> float:
    """Returns a length scale from distances [N] of cameras, or where all of them are 0 from those
    [P] of points, or else 1.
    """
    by_points = float(np.median(points)) if len(points) else 0.0
    by_cameras = float(reduce(cameras))
    if by_cameras > _NEGLIGIBLE * by_points:
        return by_cameras
    return by_points or 1.0


def _of_cameras(centers: np.ndarray, points: np.ndarray, reduce: _Reduce) -> float:
    usual = centers[~odd_cameras(centers, points)]
    origin = usual.mean(axis=0)
    return length_of(_distances(usual, origin), _distances(points, origin), reduce)


def _distances(points: np.ndarray, origin: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.norm(points - origin, axis=1))
