"""One picture of a capture: cameras and points from above and from the side, axes to scale."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gs_densify.capture.coverage import Geometry
from gs_densify.results.files import atomic_write

Color = tuple[int, int, int]

_PANEL = 900
_MARGIN = 60
_HEADER = 84
_SCALE = 2
"""Drawn this many times as large and scaled down, for smooth lines."""
_BACKGROUND, _INK, _GRID = (255, 255, 255), (40, 40, 40), (225, 225, 225)
_CAMERA, _PROBLEM = (30, 90, 200), (225, 40, 30)
_FRUSTUM = 0.12
"""Length of a camera's outline in units of the mean camera distance, at most."""
_SHOWN_POINTS = 300_000


@dataclass(frozen=True, eq=False)
class _View:
    """An orthographic view: which axes go right and up, and what part of the world it shows."""

    title: str
    right: int
    up: int
    center: np.ndarray
    """[3]"""
    half_width: float
    left: int
    """Pixels from the left border of the picture."""

    @property
    def pixels_per_unit(self) -> float:
        return (_PANEL / 2 - _MARGIN) * _SCALE / self.half_width

    def project(self, points: np.ndarray) -> np.ndarray:
        """Returns pixels [N, 2] of points [N, 3]."""
        offsets = (points - self.center)[:, [self.right, self.up]] * self.pixels_per_unit
        middle = np.array([self.left + _PANEL / 2, _HEADER + _PANEL / 2]) * _SCALE
        return np.asarray(middle + offsets * [1, -1])

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        left, top = self.left * _SCALE, _HEADER * _SCALE
        return left, top, left + _PANEL * _SCALE - 1, top + _PANEL * _SCALE - 1


def save_picture(path: Path, geometry: Geometry, title: str, problems: Iterable[str]) -> None:
    """Writes a PNG.

    Args:
        path: of the file, which is replaced whole.
        geometry: cameras and points in the normalised frame.
        title: shown above.
        problems: names of the photos whose cameras get the other colour.

    Raises:
        ResultError: where the file cannot be written.
    """
    picture = draw_capture(geometry, title, set(problems))
    with atomic_write(path) as file:
        picture.save(file, format="PNG", optimize=True)


def draw_capture(geometry: Geometry, title: str, problems: set[str]) -> Image.Image:
    """Returns the picture, RGB."""
    center, half_width = _region(geometry)
    views = (
        _View("from above (x right, y up)", 0, 1, center, half_width, left=0),
        _View("from the side (x right, z up)", 0, 2, center, half_width, left=_PANEL),
    )
    canvas = np.full(
        ((_HEADER + _PANEL) * _SCALE, 2 * _PANEL * _SCALE, 3), _BACKGROUND, dtype=np.uint8
    )
    for view in views:
        _draw_points(canvas, view, geometry)
    picture = Image.fromarray(canvas)
    draw = ImageDraw.Draw(picture)
    for view in views:
        _draw_cameras(draw, view, geometry, problems)
        _draw_frame(draw, view)
    _draw_header(draw, geometry, title, problems)
    return picture.resize((2 * _PANEL, _HEADER + _PANEL), Image.Resampling.BOX)


def _region(geometry: Geometry) -> tuple[np.ndarray, float]:
    """Returns the centre and half width of what is shown: all cameras, and points near them."""
    reach = 2.0 * float(np.linalg.norm(geometry.centers, axis=1).max())
    reach = max(reach, float(np.quantile(np.linalg.norm(geometry.points, axis=1), 0.5)))
    inner = geometry.points[np.linalg.norm(geometry.points, axis=1) <= reach]
    ends = [np.quantile(inner, q, axis=0) for q in (0.02, 0.98)] if len(inner) else []
    shown = np.concatenate([geometry.centers, *(end[None] for end in ends)])
    low, high = shown.min(axis=0), shown.max(axis=0)
    return (low + high) / 2, max(float((high - low).max()) / 2, 1e-6) * 1.08


def _draw_points(canvas: np.ndarray, view: _View, geometry: Geometry) -> None:
    step = max(1, len(geometry.points) // _SHOWN_POINTS)
    pixels = np.rint(view.project(geometry.points[::step])).astype(np.int64)
    colors = geometry.colors[::step]
    left, top, right, bottom = view.box
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        x, y = pixels[:, 0] + dx, pixels[:, 1] + dy
        inside = (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
        canvas[y[inside], x[inside]] = colors[inside]


def _draw_cameras(
    draw: ImageDraw.ImageDraw, view: _View, geometry: Geometry, problems: set[str]
) -> None:
    spacing = view.half_width * 0.06
    size = min(_FRUSTUM, spacing)
    order = sorted(range(len(geometry.names)), key=lambda i: geometry.names[i] in problems)
    for i in order:  # problems last, on top
        color = _PROBLEM if geometry.names[i] in problems else _CAMERA
        right, down, forward = geometry.axes[i]
        # Wide lenses would have outlines without end.
        x, y = np.tan(np.minimum(geometry.half_angles[i], np.radians(50)))
        corners = [forward + a * x * right + b * y * down for a, b in _CORNERS]
        tips = geometry.centers[i] + size * np.array([np.zeros(3), *corners])
        eye, *ends = map(tuple, view.project(tips))
        for end in ends:
            draw.line([eye, end], fill=color, width=_SCALE)
        draw.line([*ends, ends[0]], fill=color, width=_SCALE)
        _dot(draw, eye, 2.2 * _SCALE, color)


_CORNERS = ((-1, -1), (1, -1), (1, 1), (-1, 1))


def _draw_frame(draw: ImageDraw.ImageDraw, view: _View) -> None:
    left, top, right, bottom = view.box
    draw.rectangle(view.box, outline=_GRID, width=2 * _SCALE)
    _label(draw, (left + 24, top + 16), view.title, "la")
    unit = _round_length(view.half_width / 2)
    length = unit * view.pixels_per_unit
    x, y = right - 40 - length, bottom - 36
    draw.line([(x, y), (x + length, y)], fill=_INK, width=2 * _SCALE)
    for end in (x, x + length):
        draw.line([(end, y - 8), (end, y + 8)], fill=_INK, width=2 * _SCALE)
    label = f"{unit:g} x the mean distance of the cameras to their mean"
    _label(draw, (x + length, y - 14), label, "rd")


def _label(draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, anchor: str) -> None:
    """Draws text on a ground of its own, so that points behind it do not blur it."""
    font = _font(16)
    left, top, right, bottom = draw.textbbox(place, text, font=font, anchor=anchor)
    draw.rectangle([left - 8, top - 6, right + 8, bottom + 6], fill=_BACKGROUND)
    draw.text(place, text, fill=_INK, font=font, anchor=anchor)


def _round_length(length: float) -> float:
    """Returns the largest of 1, 2, 5 times a power of ten that is not above `length`."""
    power = 10.0 ** np.floor(np.log10(length))
    return float(max(factor * power for factor in (1, 2, 5) if factor * power <= length))


def _draw_header(
    draw: ImageDraw.ImageDraw, geometry: Geometry, title: str, problems: set[str]
) -> None:
    shown = problems & set(geometry.names)
    draw.text((48, 24), title, fill=_INK, font=_font(24))
    x, y = 48.0, 118.0
    for color, text in (
        (_CAMERA, f"camera ({len(geometry.names) - len(shown)})"),
        (_PROBLEM, f"camera of a photo that the report names ({len(shown)})"),
        ((150, 150, 150), f"point, in its own colour ({len(geometry.points):,})"),
    ):
        _dot(draw, (x + 8, y + 14), 10, color)
        draw.text((x + 28, y), text, fill=_INK, font=_font(16))
        x += 28 + draw.textlength(text, font=_font(16)) + 56


def _dot(
    draw: ImageDraw.ImageDraw, center: tuple[float, float], radius: float, color: Color
) -> None:
    x, y = center
    draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=color)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * _SCALE)
