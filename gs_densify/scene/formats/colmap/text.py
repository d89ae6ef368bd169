"""Read COLMAP's text files line by line, as COLMAP and other programs write them."""

import codecs
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import NoReturn

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

_Lines = Iterator[tuple[int, str]]

_SENSORS = {"CAMERA": CAMERA_SENSOR, "IMU": 1}
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_LARGEST_ID = 2**63 - 1
_NAN = re.compile(r"[+-]?(nan\(\w*\)|1\.#(QNAN|SNAN|IND)\d*)", re.IGNORECASE)
"""How programs built by Microsoft's compilers write what is not a number."""


def read_text_model(folder: Path, num_camera_params: Mapping[str, int]) -> ColmapFiles:
    """Reads ``cameras.txt``, ``images.txt``, ``points3D.txt``, and rigs and frames if both exist.

    Args:
        folder: folder of the model.
        num_camera_params: number of parameters of each camera model, by COLMAP's model name.

    Raises:
        SceneError: a line that does not hold what its place asks for, or a repeated id.
        OSError: a file that cannot be read.
    """
    has_rigs = (folder / "rigs.txt").exists() and (folder / "frames.txt").exists()
    return ColmapFiles(
        folder=folder,
        extension=".txt",
        cameras=_cameras(folder / "cameras.txt", num_camera_params),
        images=read_images(folder / "images.txt"),
        points=_points(folder / "points3D.txt"),
        rigs=_rigs(folder / "rigs.txt") if has_rigs else {},
        frames=_frames(folder / "frames.txt") if has_rigs else {},
    )


def read_images(path: Path) -> dict[int, ImageRecord]:
    """Returns the images of ``images.txt`` by id, with the spaces in their names."""
    images: dict[int, ImageRecord] = {}
    lines = _lines(path)
    pending: tuple[int, str] | None = next(lines, None)
    while pending is not None:
        number, line = pending
        if _is_blank(line):
            pending = next(lines, None)
            continue
        fields = line.split(maxsplit=9)
        if len(fields) < 10:
            _refuse(path, number, "IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME")
        image_id, camera_id = _ints(path, number, [fields[0], fields[8]])
        pose = _floats(path, number, fields[1:8])
        if image_id in images:
            _refuse(path, number, f"an image id other than {image_id}, which was listed before")
        # The next line, also an empty one, holds the 2D points, but some programs leave it out.
        pending = next(lines, None)
        points = ""
        if pending is not None and not _begins_image(pending[1]):
            number, points = pending
            pending = next(lines, None)
        xy, point_ids = _observations(path, number, points.split())
        images[image_id] = ImageRecord(fields[9].strip(), camera_id, np.array(pose), xy, point_ids)
    return images


def _begins_image(line: str) -> bool:
    """Returns whether a line cannot be one of 2D points: it is one of an image, or a comment."""
    if line.lstrip().startswith("#"):
        return True
    fields = line.split(maxsplit=9)
    numbers = line.split()
    if len(fields) < 10 or (len(numbers) % 3 == 0 and all(map(_is_number, numbers))):
        return False
    return all(map(_is_number, fields[:9]))


def _is_number(field: str) -> bool:
    try:
        _float(field)
    except ValueError:
        return False
    return True


def _observations(path: Path, number: int, fields: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns positions [n, 2] and point ids [n] of the 2D points that observe a 3D point."""
    if len(fields) % 3:
        _refuse(path, number, "2D points as triples X Y POINT3D_ID")
    x, y = (np.array(_floats(path, number, fields[k::3])) for k in (0, 1))
    ids = np.array(_ints(path, number, fields[2::3]), np.int64)
    return np.stack([x, y], axis=1)[ids != -1], ids[ids != -1]


def _cameras(path: Path, num_params: Mapping[str, int]) -> dict[int, CameraRecord]:
    cameras: dict[int, CameraRecord] = {}
    for number, fields in _rows(path):
        if len(fields) < 4:
            _refuse(path, number, "CAMERA_ID MODEL WIDTH HEIGHT PARAMS")
        model = fields[1]
        if model not in num_params:
            _refuse(path, number, f"a COLMAP camera model, not {model!r}")
        if len(fields) != 4 + num_params[model]:
            _refuse(path, number, f"{num_params[model]} parameters for {model}")
        camera_id, width, height = _ints(path, number, [fields[0], *fields[2:4]])
        if not 1 <= min(width, height) <= max(width, height) <= LARGEST_SIDE:
            _refuse(path, number, f"a size of at least 1x1, not {width}x{height}")
        params = tuple(_floats(path, number, fields[4:]))
        _add(path, number, cameras, camera_id, CameraRecord(model, width, height, params))
    return cameras


def _points(path: Path) -> PointRecords:
    ids, values, colors, lengths = [], [], [], []
    for number, fields in _rows(path):
        if len(fields) < 8 or len(fields) % 2:
            _refuse(path, number, "POINT3D_ID X Y Z R G B ERROR and pairs IMAGE_ID POINT2D_IDX")
        values.append(_floats(path, number, [*fields[1:4], fields[7]]))
        identity, *color = _ints(path, number, [fields[0], *fields[4:7]])
        if not all(0 <= c <= 255 for c in color):
            _refuse(path, number, "colours from 0 to 255")
        _ints(path, number, fields[8:])
        ids.append(identity)
        colors.append(color)
        lengths.append(len(fields) // 2 - 4)
    numbers = np.array(values, np.float64).reshape(-1, 4)
    return sorted_points(
        np.array(ids, np.int64),
        numbers[:, :3],
        np.array(colors, np.uint8).reshape(-1, 3),
        numbers[:, 3],
        np.array(lengths, np.int64),
    )


def _rigs(path: Path) -> dict[int, RigRecord]:
    rigs: dict[int, RigRecord] = {}
    for number, fields in _rows(path):
        left = iter(fields)
        rig_id, count = _take_ints(path, number, left, 2)
        sensors: dict[Sensor, np.ndarray | None] = {}
        for index in range(count):
            sensor = _take_sensor(path, number, left)
            if index == 0:  # the rig's origin
                sensors[sensor] = identity_pose()
            elif _take_ints(path, number, left, 1)[0]:
                sensors[sensor] = _take_pose(path, number, left)
            else:
                sensors[sensor] = None
        _check_end(path, number, left)
        _add(path, number, rigs, rig_id, RigRecord(sensors))
    return rigs


def _frames(path: Path) -> dict[int, FrameRecord]:
    frames: dict[int, FrameRecord] = {}
    for number, fields in _rows(path):
        left = iter(fields)
        frame_id, rig_id = _take_ints(path, number, left, 2)
        pose = _take_pose(path, number, left)
        images: dict[int, Sensor] = {}
        for _ in range(_take_ints(path, number, left, 1)[0]):
            sensor = _take_sensor(path, number, left)
            (data_id,) = _take_ints(path, number, left, 1)
            if sensor[0] == CAMERA_SENSOR:
                images[data_id] = sensor
        _check_end(path, number, left)
        _add(path, number, frames, frame_id, FrameRecord(rig_id, pose, images))
    return frames


def _take(path: Path, number: int, fields: Iterator[str], count: int) -> list[str]:
    taken = list(islice(fields, count))
    if len(taken) < count:
        _refuse(path, number, "as many sensors and data as it announces")
    return taken


def _take_ints(path: Path, number: int, fields: Iterator[str], count: int) -> list[int]:
    return _ints(path, number, _take(path, number, fields, count))


def _take_pose(path: Path, number: int, fields: Iterator[str]) -> np.ndarray:
    return np.array(_floats(path, number, _take(path, number, fields, 7)))


def _take_sensor(path: Path, number: int, fields: Iterator[str]) -> Sensor:
    kind, identity = _take(path, number, fields, 2)
    if kind not in _SENSORS:
        _refuse(path, number, f"a sensor that is {' or '.join(_SENSORS)}, not {kind!r}")
    return _SENSORS[kind], _ints(path, number, [identity])[0]


def _check_end(path: Path, number: int, fields: Iterator[str]) -> None:
    if next(fields, None) is not None:
        _refuse(path, number, "no more sensors and data than it announces")


def _add(path: Path, number: int, records: dict, identity: int, record: object) -> None:
    if identity in records:
        _refuse(path, number, f"an id other than {identity}, which was listed before")
    records[identity] = record


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yields numbers and fields of the lines that hold something."""
    for number, line in _lines(path):
        if not _is_blank(line):
            yield number, line.split()


def _lines(path: Path) -> _Lines:
    """Yields numbered lines from 1."""
    content = path.read_bytes()
    is_utf16 = content.startswith(_UTF16_MARKS)
    try:
        text = content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        number = 1 + content.count(b"\n", 0, error.start)
        raise SceneError(
            f"{path}, line {number}: not UTF-8 text",
            expected="expected a COLMAP text file",
            action="where it is a name in another encoding, convert the file with iconv -f"
            " ENCODING -t UTF-8; else copy the model again",
        ) from None
    return enumerate(text.split("\n"), start=1)


def _is_blank(line: str) -> bool:
    stripped = line.strip()
    return not stripped or stripped.startswith("#")


def _ints(path: Path, number: int, fields: list[str]) -> list[int]:
    numbers = _numbers(path, number, fields, int, "whole numbers")
    if any(abs(n) > _LARGEST_ID for n in numbers):
        _refuse(path, number, "whole numbers of 64 bits")
    return numbers


def _floats(path: Path, number: int, fields: list[str]) -> list[float]:
    return _numbers(path, number, fields, _float, "numbers")


def _float(field: str) -> float:
    return float("nan" if _NAN.fullmatch(field) else field)


def _numbers(path: Path, number: int, fields: list[str], kind: Callable, what: str) -> list:
    try:
        return [kind(field) for field in fields]
    except ValueError as error:
        _refuse(path, number, f"{what} ({error})")


def _refuse(path: Path, number: int, expected: str) -> NoReturn:
    raise SceneError(
        f"{path}, line {number}: not a line of a COLMAP model",
        expected=f"expected {expected}",
        action="copy the model again or export it anew with colmap model_converter",
    )
