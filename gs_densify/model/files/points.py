"""Points with colours from a PLY file: LiDAR scans, dense clouds, meshes."""

from pathlib import Path

import numpy as np

from gs_densify.errors import ResultError
from gs_densify.model.files.ply_table import read_vertices

_POSITION = ("x", "y", "z")
_COLORS = (("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), tuple("rgb"))
_GREY = 128


def read_points(path: Path) -> tuple[np.ndarray, np.ndarray, bool]:
    """Returns positions [P, 3] float64, colours [P, 3] uint8, and whether the file has any colours.

    Whole numbers are colours from 0 to the largest of their type, others from 0 to 1, or to 255
    where one is larger. Without colours, points are grey.

    Raises:
        ResultError: the file is damaged, or its vertices have no position.
    """
    rows = read_vertices(path)
    names = rows.dtype.names or ()
    if not {*_POSITION} <= {*names}:
        raise ResultError(
            f"{path}: its vertices have the properties {', '.join(names) or 'none'}",
            expected="expected x, y and z",
            action="name a PLY file of points",
        )
    points = np.stack([rows[name].astype(np.float64) for name in _POSITION], axis=1)
    found = next((colors for colors in _COLORS if {*colors} <= {*names}), None)
    if found is None:
        return points, np.full((len(points), 3), _GREY, np.uint8), False
    return points, _levels(np.stack([rows[name] for name in found], axis=1)), True


def _levels(colors: np.ndarray) -> np.ndarray:
    """Returns colours [P, 3] of any type as uint8."""
    if colors.dtype == np.uint8:
        return colors
    if colors.dtype.kind in "iu":
        most = float(np.iinfo(colors.dtype).max) if colors.dtype.itemsize <= 2 else 255.0
    else:
        colors = np.nan_to_num(colors.astype(np.float64))
        most = 255.0 if len(colors) and colors.max() > 1 else 1.0
    return np.rint(np.clip(colors / most, 0, 1) * 255).astype(np.uint8)
