"""Read COLMAP's binary files (COLMAP manual, "Output Format") with every bound checked.

A damaged count neither allocates without bound nor reads beyond the file.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

import numpy as np

from gs_densify.errors import SceneError
from gs_densify.scene.formats.colmap.records import (
    CAMERA_SENSOR,
    LARGEST_SIDE,
    CameraRecord,
    ColmapFiles,
    FrameRecord,
    ImageRecord,
    PointRecords,
    RigRecord,
    Sensor,
    identity_pose,
    sorted_points,
)

_Record = TypeVar("_Record")

_COUNT = struct.Struct("<Q")
_SHORT_COUNT = struct.Struct("<I")
_CAMERA = struct.Struct("<IiQQ")  # id, model, width, height; then the model's parameters
_IMAGE = struct.Struct("<I7dI")  # id, pose, camera; then name and 2D points
_RIG = struct.Struct("<II")  # id, number of sensors
_SENSOR = struct.Struct("<iI")  # type, id
_FLAG = struct.Struct("<B")
_POSE = struct.Struct("<7d")
_FRAME = struct.Struct("<II7d")  # id, rig, pose; then its data
_DATA = struct.Struct("<iIQ")  # sensor's type and id, image id
_OBSERVATION = np.dtype([("xy", "<f8", 2), ("id", "<i8")])
_POINT = np.dtype(
    [("id", "<i8"), ("xyz", "<f8", 3), ("rgb", "u1", 3), ("error", "<f8"), ("length", "<u8")]
)  # then the track
_TRACK_ELEMENT_SIZE = 8


def read_binary_model(folder: Path, models: Mapping[int, tuple[str, int]]) -> ColmapFiles:
    """Reads ``cameras.bin``, ``images.bin``, ``points3D.bin``, and rigs and frames if both exist.

    Args:
        folder: folder of the model.
        models: name and number of parameters of each camera model, by COLMAP's id of it.

    Raises:
        SceneError: a truncated file, bytes left over, an unknown camera model, an impossible
            size, a repeated id, or a name that is not UTF-8.
        OSError: a file that cannot be read.
    """
    has_rigs = (folder / "rigs.bin").exists() and (folder / "frames.bin").exists()
    return ColmapFiles(
        folder=folder,
        extension=".bin",
        cameras=_records(folder / "cameras.bin", lambda cursor: _camera(cursor, models)),
        images=_records(folder / "images.bin", _image),
        points=_points(folder / "points3D.bin"),
        rigs=_records(folder / "rigs.bin", _rig) if has_rigs else {},
        frames=_records(folder / "frames.bin", _frame) if has_rigs else {},
    )


def count_binary_images(path: Path) -> int:
    """Returns the number of images that ``images.bin`` announces; 0 for a file too short to say."""
    with path.open("rb") as file:
        head = file.read(_COUNT.size)
    return int(_COUNT.unpack(head)[0]) if len(head) == _COUNT.size else 0


@dataclass
class _Cursor:
    """A file's bytes and how far they have been read."""

    path: Path
    data: bytes
    position: int = 0

    def take(self, layout: struct.Struct) -> tuple:
        """Reads one record."""
        return layout.unpack_from(self.data, self.skip(layout.size))

    def take_array(self, kind: np.dtype, count: int) -> np.ndarray:
        """Reads `count` items of a NumPy type."""
        return np.frombuffer(self.data, kind, count, self.skip(count * kind.itemsize))

    def take_text(self) -> str:
        """Reads a string that ends in a zero byte."""
        start, end = self.position, self.data.find(b"\0", self.position)
        if end < 0:
            self.refuse("ends within an image name")
        self.skip(end + 1 - start)
        content = self.data[start:end]
        try:
            return content.decode()
        except UnicodeDecodeError:
            readable = content.decode("ascii", "replace")
            raise SceneError(
                f"{self.path} holds the image name {readable!r} in an encoding that it does not"
                f" say (byte {start})",
                expected="expected UTF-8",
                action="export the model as text with colmap model_converter, convert images.txt"
                " with iconv -f ENCODING -t UTF-8, and remove the .bin files",
            ) from None

    def skip(self, size: int) -> int:
        """Steps over ``size`` bytes and gives their start."""
        start = self.position
        self.position += size
        if self.position > len(self.data):
            self.refuse(f"ends after {len(self.data)} bytes, within a record")
        return start

    def finish(self, count: int) -> None:
        """Refuses what follows the last record."""
        left = len(self.data) - self.position
        if left:
            self.refuse(f"has {left} bytes after the {count} records that it announces")

    def refuse(self, what: str) -> NoReturn:
        """Raises a SceneError about this file."""
        raise SceneError(
            f"{self.path} {what}",
            expected="expected an intact COLMAP file",
            action="copy the model again or export it anew with colmap model_converter",
        )


def _records(path: Path, record: Callable[[_Cursor], tuple[int, _Record]]) -> dict[int, _Record]:
    """Reads a count and as many records, up to the last byte of the file; gives them by id."""
    cursor = _Cursor(path, path.read_bytes())
    (count,) = cursor.take(_COUNT)
    found: dict[int, _Record] = {}
    for _ in range(count):
        identity, content = record(cursor)
        if identity in found:
            cursor.refuse(f"lists the id {identity} twice")
        found[identity] = content
    cursor.finish(count)
    return found


def _camera(cursor: _Cursor, models: Mapping[int, tuple[str, int]]) -> tuple[int, CameraRecord]:
    camera_id, model, width, height = cursor.take(_CAMERA)
    if model not in models:
        cursor.refuse(f"gives camera {camera_id} the unknown camera model {model}")
    if not 0 < min(width, height) <= max(width, height) <= LARGEST_SIDE:
        cursor.refuse(f"gives camera {camera_id} the size {width}x{height}")
    name, number = models[model]
    params = cursor.take(struct.Struct(f"<{number}d"))
    return camera_id, CameraRecord(name, width, height, params)


def _image(cursor: _Cursor) -> tuple[int, ImageRecord]:
    image_id, *pose, camera_id = cursor.take(_IMAGE)
    name = cursor.take_text()
    (count,) = cursor.take(_COUNT)
    points = cursor.take_array(_OBSERVATION, count)
    points = points[points["id"] != -1]
    return image_id, ImageRecord(name, camera_id, np.array(pose), points["xy"], points["id"])


def _points(path: Path) -> PointRecords:
    cursor = _Cursor(path, path.read_bytes())
    (count,) = cursor.take(_COUNT)
    starts = []
    length_at = _POINT.itemsize - _COUNT.size
    for _ in range(count):
        start = cursor.skip(_POINT.itemsize)
        (length,) = _COUNT.unpack_from(cursor.data, start + length_at)
        cursor.skip(_TRACK_ELEMENT_SIZE * length)
        starts.append(start)
    cursor.finish(count)
    content = np.frombuffer(cursor.data, np.uint8)
    rows = content[np.array(starts, np.int64)[:, None] + np.arange(_POINT.itemsize)]
    points = np.ascontiguousarray(rows).view(_POINT)[:, 0]
    return sorted_points(
        points["id"],
        points["xyz"],
        points["rgb"],
        points["error"],
        points["length"].astype(np.int64),
    )


def _rig(cursor: _Cursor) -> tuple[int, RigRecord]:
    rig_id, count = cursor.take(_RIG)
    sensors: dict[Sensor, np.ndarray | None] = {}
    for index in range(count):
        kind, identity = cursor.take(_SENSOR)
        if index == 0:  # the rig's origin
            sensors[kind, identity] = identity_pose()
        else:
            has_pose = cursor.take(_FLAG)[0]
            sensors[kind, identity] = np.array(cursor.take(_POSE)) if has_pose else None
    return rig_id, RigRecord(sensors)


def _frame(cursor: _Cursor) -> tuple[int, FrameRecord]:
    frame_id, rig_id, *pose = cursor.take(_FRAME)
    (count,) = cursor.take(_SHORT_COUNT)
    data = [cursor.take(_DATA) for _ in range(count)]
    images = {image: (kind, sensor) for kind, sensor, image in data if kind == CAMERA_SENSOR}
    return frame_id, FrameRecord(rig_id, np.array(pose), images)
