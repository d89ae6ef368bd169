"""Where the cameras of a capture stand and look, as seen from the middle of the scene.

The middle is the median of those points that most cameras have in frame: the subject of photos
taken around one, where the median of all points may lie in the floor or the background.
All lengths are in the frame of `data.normalize`: z is up, the mean distance of the cameras to
their mean is 1.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from scipy.spatial import cKDTree

from gs_densify.capture.model import CaptureModel
from gs_densify.scene.normalize import (
    camera_centers,
    is_usable_point,
    normalizing_transform,
    transform_points,
    transform_poses,
)

Looking = Literal["inwards", "outwards", "in many directions"]

NO_BASELINE = 0.02
"""Cameras within this fraction of their distance to the scene stand on one spot."""
_STEEP = np.radians(75.0)
"""Cameras steeper above or below the middle have no azimuth worth the name."""

_SAMPLED_POINTS = 2000


@dataclass(frozen=True, eq=False)
class Geometry:
    """Cameras and points in the normalised frame."""

    names: tuple[str, ...]
    centers: np.ndarray
    """[N, 3] camera centres."""
    axes: np.ndarray
    """[N, 3, 3]: rows are each camera's right, down and forward in the world."""
    half_angles: np.ndarray
    """[N, 2] radians from the viewing direction to the right and lower border."""
    points: np.ndarray
    """[P, 3]; P >= 1."""
    colors: np.ndarray
    """[P, 3] uint8."""

    @cached_property
    def middle(self) -> np.ndarray:
        """Returns [3]: median of the quarter of the points that most cameras have in frame."""
        sample = self.points[:: max(1, len(self.points) // _SAMPLED_POINTS)]
        views = self.count_views(sample)
        return np.asarray(np.median(sample[views >= np.quantile(views, 0.75)], axis=0))

    def count_views(self, points: np.ndarray) -> np.ndarray:
        """Returns cameras [P] that have each of `points` [P, 3] in frame, whatever stands before
        it.

        Lenses are taken as straight.
        """
        views = np.zeros(len(points), dtype=np.int64)
        for center, axes, half in zip(self.centers, self.axes, self.half_angles, strict=True):
            x, y, z = axes @ (points - center).T
            views += (
                (z > 0) & (np.abs(x) <= np.tan(half[0]) * z) & (np.abs(y) <= np.tan(half[1]) * z)
            )
        return views

    @property
    def distances(self) -> np.ndarray:
        """Returns [N]: of each camera to the middle."""
        return np.asarray(np.linalg.norm(self.centers - self.middle, axis=1))


@dataclass(frozen=True)
class Coverage:
    """How the cameras cover the scene. Angles in degrees, as seen from the middle."""

    looking: Looking
    arc: float
    """Azimuth that the cameras (looking outwards: their directions) span: 360 less the gap."""
    gap: float
    """Largest azimuth without a camera (looking outwards: direction)."""
    gap_between: tuple[str, str]
    """Photos at both ends of the gap."""
    elevations: tuple[float, float]
    """5th and 95th percentile of the cameras above the middle (looking outwards: of where they
    look)."""
    neighbour_angle: float
    """Median angle to the next camera (looking outwards: direction)."""
    baseline: float
    """Median distance to the next camera over the median distance to the middle."""
    extent: float
    """Largest distance of a camera to the mean camera over the median distance to the middle."""
    distances: tuple[float, float]
    """Least and largest distance to the middle over the median one."""
    see_middle: int
    """Cameras with the middle in their frame, whatever stands before it."""


def geometry_of(model: CaptureModel) -> Geometry | None:
    """Returns the normalised frame of a model; None without cameras or points that can be used."""
    if not model.images:
        return None
    poses = np.stack([image.cam_from_world for image in model.images])
    usable = is_usable_point(model.points, camera_centers(poses))
    if not usable.any():
        return None
    similarity = normalizing_transform(poses, model.points[usable])
    poses = transform_poses(similarity, poses)
    return Geometry(
        names=tuple(image.name for image in model.images),
        centers=camera_centers(poses),
        axes=poses[:, :3, :3],
        half_angles=np.array([image.half_angles for image in model.images]),
        points=transform_points(similarity, model.points[usable]),
        colors=model.colors[usable],
    )


def coverage_of(geometry: Geometry) -> Coverage:
    """Measures the coverage."""
    offsets = geometry.centers - geometry.middle
    distances = np.maximum(geometry.distances, 1e-12)
    typical = float(np.median(distances))
    forward = geometry.axes[:, 2]
    towards_middle = -np.einsum("ij,ij->i", offsets, forward) / distances
    extent = float(np.linalg.norm(geometry.centers, axis=1).max()) / typical
    looking = _looking(float(np.median(towards_middle)), extent)
    rays = forward if looking == "outwards" else offsets / distances[:, None]
    elevations = np.degrees(np.arcsin(np.clip(rays[:, 2], -1, 1)))
    gap, ends = _largest_gap(rays)
    nearest = _nearest(geometry.centers)
    chords = np.clip(_nearest(rays), 0, 2)
    return Coverage(
        looking=looking,
        arc=360.0 - gap,
        gap=gap,
        gap_between=(geometry.names[ends[0]], geometry.names[ends[1]]),
        elevations=(float(np.percentile(elevations, 5)), float(np.percentile(elevations, 95))),
        neighbour_angle=float(np.degrees(2 * np.arcsin(np.median(chords) / 2))),
        baseline=float(np.median(nearest)) / typical,
        extent=extent,
        distances=(float(distances.min()) / typical, float(distances.max()) / typical),
        see_middle=int(geometry.count_views(geometry.middle[None])[0]),
    )


def _looking(median_cosine: float, extent: float) -> Looking:
    if extent < NO_BASELINE or median_cosine < -0.2:
        return "outwards"
    return "inwards" if median_cosine > 0.5 else "in many directions"


def _largest_gap(rays: np.ndarray) -> tuple[float, tuple[int, int]]:
    """Returns the largest azimuth between neighbours in degrees, and the cameras at its ends."""
    flat = np.flatnonzero(np.abs(rays[:, 2]) < np.sin(_STEEP))
    if not len(flat):
        return 360.0, (0, 0)
    azimuths = np.degrees(np.arctan2(rays[flat, 1], rays[flat, 0]))
    order = np.argsort(azimuths, kind="stable")
    ordered = azimuths[order]
    gaps = np.diff(ordered, append=ordered[0] + 360.0)
    at = int(gaps.argmax())
    return float(gaps[at]), (int(flat[order[at]]), int(flat[order[(at + 1) % len(order)]]))


def _nearest(places: np.ndarray) -> np.ndarray:
    """Returns the distance [N] of each row to the nearest other one; 0 for a single one."""
    if len(places) < 2:
        return np.zeros(len(places))
    return np.asarray(cKDTree(places).query(places, k=2)[0][:, 1])
