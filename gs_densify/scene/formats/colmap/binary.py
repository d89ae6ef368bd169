"""Walk COLMAP's binary files before a C++ parser sees them.

The parser trusts the counts that it reads: a damaged file can make it allocate without bound or
end the process. The walk follows the same layout (COLMAP manual, "Output Format") with bounds
checked. What one record says about another one is left to the parser, which raises.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from gs_densify.errors import SceneError

_COUNT = struct.Struct("<Q")
_SHORT_COUNT = struct.Struct("<I")
_CAMERA = struct.Struct("<IiQQ")  # id, model, width, height; then the model's parameters
_IMAGE = struct.Struct("<I4d3dI")  # id, quaternion, translation, camera; then name and 2D points
_POINT = struct.Struct("<Q3d3Bd")  # id, position, colour, error; then its track
_RIG = struct.Struct("<II")  # id, number of sensors
_SENSOR = struct.Struct("<iI")  # type, id
_FLAG = struct.Struct("<B")
_FRAME = struct.Struct("<II4d3d")  # id, rig, quaternion, translation; then its data
_OBSERVATION_SIZE, _TRACK_ELEMENT_SIZE, _POSE_SIZE, _DATA_SIZE = 24, 8, 56, 16
_LARGEST_SIDE = 2**20


@dataclass
class _Cursor:
    """A file's bytes and how far they have been read."""

    path: Path
    data: bytes
    position: int = 0

    def take(self, layout: struct.Struct) -> tuple:
        """Reads one record."""
        return layout.unpack_from(self.data, self.skip(layout.size))

    def take_text(self) -> str:
        """Reads a string that ends in a zero byte."""
        start, end = self.position, self.data.find(b"\0", self.position)
        if end < 0:
            self.refuse("ends within an image name")
        self.skip(end + 1 - start)
        try:
            return self.data[start:end].decode()
        except UnicodeDecodeError:
            self.refuse(f"holds an image name that is not UTF-8 at byte {start}")

    def skip(self, size: int) -> int:
        """Steps over ``size`` bytes and gives their start."""
        start = self.position
        self.position += size
        if self.position > len(self.data):
            self.refuse(f"ends after {len(self.data)} bytes, within a record")
        return start

    def skip_counted(self, size: int, count: struct.Struct = _COUNT) -> None:
        """Steps over a count and as many records of ``size`` bytes."""
        (number,) = self.take(count)
        self.skip(number * size)

    def refuse(self, what: str) -> NoReturn:
        """Raises a SceneError about this file."""
        raise SceneError(
            f"{self.path} {what}",
            expected="expected an intact COLMAP file",
            action="copy the model again or export it anew with colmap model_converter",
        )


def check_binary_model(folder: Path, num_camera_params: Mapping[int, int]) -> dict[int, str]:
    """Walks ``cameras.bin``, ``images.bin``, ``points3D.bin``, and rigs and frames where present.

    Args:
        folder: folder of the model.
        num_camera_params: number of parameters of each camera model, by COLMAP's model id.

    Returns:
        Image names by image id.

    Raises:
        SceneError: a truncated file, bytes left over, an unknown camera model, an impossible
            size, or a name that is not UTF-8.
    """
    _walk(folder / "cameras.bin", partial(_camera, num_params=num_camera_params))
    names: dict[int, str] = {}
    _walk(folder / "images.bin", partial(_image, names=names))
    _walk(folder / "points3D.bin", _point)
    for name, record in (("rigs.bin", _rig), ("frames.bin", _frame)):
        if (folder / name).exists():
            _walk(folder / name, record)
    return names


def count_binary_images(path: Path) -> int:
    """Returns the number of images that ``images.bin`` announces; 0 for a file too short to say."""
    with path.open("rb") as file:
        head = file.read(_COUNT.size)
    return int(_COUNT.unpack(head)[0]) if len(head) == _COUNT.size else 0


def _walk(path: Path, record: Callable[[_Cursor], None]) -> None:
    """Reads a count and as many records, up to the last byte of the file."""
    cursor = _Cursor(path, path.read_bytes())
    (count,) = cursor.take(_COUNT)
    for _ in range(count):
        record(cursor)
    if cursor.position < len(cursor.data):
        left = len(cursor.data) - cursor.position
        cursor.refuse(f"has {left} bytes after the {count} records that it announces")


def _camera(cursor: _Cursor, num_params: Mapping[int, int]) -> None:
    camera_id, model, width, height = cursor.take(_CAMERA)
    if model not in num_params:
        cursor.refuse(f"gives camera {camera_id} the unknown camera model {model}")
    if not 0 < min(width, height) <= max(width, height) <= _LARGEST_SIDE:
        cursor.refuse(f"gives camera {camera_id} the size {width}x{height}")
    cursor.skip(8 * num_params[model])


def _image(cursor: _Cursor, names: dict[int, str]) -> None:
    image_id, *_ = cursor.take(_IMAGE)
    names[image_id] = cursor.take_text()
    cursor.skip_counted(_OBSERVATION_SIZE)


def _point(cursor: _Cursor) -> None:
    cursor.skip(_POINT.size)
    cursor.skip_counted(_TRACK_ELEMENT_SIZE)


def _rig(cursor: _Cursor) -> None:
    _, num_sensors = cursor.take(_RIG)
    for index in range(num_sensors):
        cursor.skip(_SENSOR.size)
        # The first sensor is the rig's origin; each other one has a pose if its flag says so.
        if index > 0 and cursor.take(_FLAG)[0]:
            cursor.skip(_POSE_SIZE)


def _frame(cursor: _Cursor) -> None:
    cursor.skip(_FRAME.size)
    cursor.skip_counted(_DATA_SIZE, _SHORT_COUNT)
