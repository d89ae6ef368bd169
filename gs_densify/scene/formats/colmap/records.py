"""What the files of a COLMAP model hold, record by record, before anyone asks whether it fits."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

LARGEST_SIDE = 2**20
"""Pixels; a camera beyond is taken for damaged."""

CAMERA_SENSOR = 0
"""The type of sensor that takes photos; COLMAP's rigs may hold others."""

Sensor = tuple[int, int]
"""Its type, and its id among those: of a camera that of `CameraRecord`."""


@dataclass(frozen=True)
class CameraRecord:
    """A line of cameras: a model of COLMAP with its size in pixels and its parameters."""

    model: str
    width: int
    height: int
    params: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class ImageRecord:
    """A line of images with the line of 2D points that follows it."""

    name: str
    camera_id: int
    pose: np.ndarray
    """[7] float64: quaternion w x y z and translation, from world to camera."""
    xy: np.ndarray
    """[n, 2] float64: 2D points that observe a 3D point, in pixels of the camera."""
    point_ids: np.ndarray
    """[n] int64: which one each of them observes."""


@dataclass(frozen=True, eq=False)
class PointRecords:
    """All 3D points, sorted by id."""

    ids: np.ndarray
    """[P] int64."""
    xyz: np.ndarray
    """[P, 3] float64; may hold values that are not finite."""
    rgb: np.ndarray
    """[P, 3] uint8."""
    errors: np.ndarray
    """[P] float64, pixels; -1 where COLMAP has not computed it."""
    track_lengths: np.ndarray
    """[P] int64: observations that the point itself lists."""


@dataclass(frozen=True, eq=False)
class RigRecord:
    """A line of rigs: sensors that move together."""

    sensors: Mapping[Sensor, np.ndarray | None]
    """From rig to sensor, as `ImageRecord.pose`; None where the file gives none."""


@dataclass(frozen=True, eq=False)
class FrameRecord:
    """A line of frames: where a rig was at one moment."""

    rig_id: int
    pose: np.ndarray
    """From world to rig, as `ImageRecord.pose`."""
    images: Mapping[int, Sensor]
    """What took each image, by image id."""


@dataclass(frozen=True, eq=False)
class ColmapFiles:
    """A model as its files have it, by COLMAP's ids."""

    folder: Path
    extension: str
    """`.bin` or `.txt`."""
    cameras: Mapping[int, CameraRecord]
    images: Mapping[int, ImageRecord]
    points: PointRecords
    rigs: Mapping[int, RigRecord]
    """Empty where the model has no such file, as those of COLMAP before 3.12."""
    frames: Mapping[int, FrameRecord]

    def path(self, name: str) -> Path:
        """Returns the file of `cameras`, `images`, `points3D`, `rigs` or `frames`."""
        return self.folder / (name + self.extension)


def identity_pose() -> np.ndarray:
    """Returns the pose [7] that moves nothing."""
    return np.array([1.0, 0, 0, 0, 0, 0, 0])


def sorted_points(
    ids: np.ndarray,
    xyz: np.ndarray,
    rgb: np.ndarray,
    errors: np.ndarray,
    track_lengths: np.ndarray,
) -> PointRecords:
    """Returns the records by id, whatever their order in the file."""
    order = np.argsort(ids.astype(np.uint64), kind="stable")
    return PointRecords(*(array[order] for array in (ids, xyz, rgb, errors, track_lengths)))
