"""Check COLMAP's text files line by line before a C++ parser sees them.

The parser stops reading some damaged lines without a word, and ends an image name at its first
space. The walk finds the first and recovers the second.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NoReturn

from gs_densify.errors import SceneError

_Lines = Iterator[tuple[int, str]]


def check_text_model(folder: Path, num_camera_params: Mapping[str, int]) -> dict[int, str]:
    """Checks ``cameras.txt``, ``images.txt`` and ``points3D.txt``.

    Args:
        folder: folder of the model.
        num_camera_params: number of parameters of each camera model, by COLMAP's model name.

    Returns:
        Image names by image id, with their spaces.

    Raises:
        SceneError: a line that does not hold what its place asks for, or a repeated id.
    """
    _check_cameras(folder / "cameras.txt", num_camera_params)
    names = read_image_names(folder / "images.txt")
    _check_points(folder / "points3D.txt")
    return names


def read_image_names(path: Path) -> dict[int, str]:
    """Returns image names by image id from ``images.txt``; checks every line of it."""
    names: dict[int, str] = {}
    lines = _lines(path)
    for number, line in lines:
        if _is_blank(line):
            continue
        fields = line.split(maxsplit=9)
        if len(fields) < 10:
            _refuse(path, number, "IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME")
        image_id, _ = _ints(path, number, [fields[0], fields[8]])
        _floats(path, number, fields[1:8])
        if image_id in names:
            _refuse(path, number, f"an image id other than {image_id}, which was listed before")
        names[image_id] = fields[9].strip()
        # The next line, also an empty one, holds the 2D points.
        number, observations = next(lines, (number + 1, ""))
        _check_observations(path, number, observations.split())
    return names


def _check_cameras(path: Path, num_params: Mapping[str, int]) -> None:
    for number, line in _lines(path):
        if _is_blank(line):
            continue
        fields = line.split()
        if len(fields) < 4:
            _refuse(path, number, "CAMERA_ID MODEL WIDTH HEIGHT PARAMS")
        if fields[1] not in num_params:
            _refuse(path, number, f"a COLMAP camera model, not {fields[1]!r}")
        if len(fields) != 4 + num_params[fields[1]]:
            _refuse(path, number, f"{num_params[fields[1]]} parameters for {fields[1]}")
        _, width, height = _ints(path, number, [fields[0], *fields[2:4]])
        if min(width, height) < 1:
            _refuse(path, number, f"a size of at least 1x1, not {width}x{height}")
        _floats(path, number, fields[4:])


def _check_observations(path: Path, number: int, fields: list[str]) -> None:
    if len(fields) % 3:
        _refuse(path, number, "2D points as triples X Y POINT3D_ID")
    _floats(path, number, fields[0::3] + fields[1::3])
    _ints(path, number, fields[2::3])


def _check_points(path: Path) -> None:
    for number, line in _lines(path):
        if _is_blank(line):
            continue
        fields = line.split()
        if len(fields) < 8 or len(fields) % 2:
            _refuse(path, number, "POINT3D_ID X Y Z R G B ERROR and pairs IMAGE_ID POINT2D_IDX")
        _floats(path, number, [*fields[1:4], fields[7]])
        _, *color = _ints(path, number, [fields[0], *fields[4:7]])
        if not all(0 <= c <= 255 for c in color):
            _refuse(path, number, "colours from 0 to 255")
        _ints(path, number, fields[8:])


def _lines(path: Path) -> _Lines:
    """Yields numbered lines from 1."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SceneError(
            f"{path} is not UTF-8 text at byte {error.start}",
            expected="expected a COLMAP text file",
            action="copy the model again or export it anew with colmap model_converter",
        ) from None
    return enumerate(text.split("\n"), start=1)


def _is_blank(line: str) -> bool:
    stripped = line.strip()
    return not stripped or stripped.startswith("#")


def _ints(path: Path, number: int, fields: list[str]) -> list[int]:
    return _numbers(path, number, fields, int, "whole numbers")


def _floats(path: Path, number: int, fields: list[str]) -> list[float]:
    return _numbers(path, number, fields, float, "numbers")


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
