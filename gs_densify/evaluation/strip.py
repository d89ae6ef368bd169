"""Pictures side by side over a caption, as the files in a folder `renders` are.

The pictures keep their pixels; the caption is below them, and the file says how high they are, so
that they can be taken out of it again. Imports no torch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from gs_densify.errors import ResultError
from gs_densify.images.heat import heat
from gs_densify.results import atomic_write
from gs_densify.scene.photos.open import open_picture

ERROR_AT_END = 0.2
"""The error, mean over the channels of the absolute one in [0, 1], that has the last colour.

One for all pictures of all runs, which can be compared therefore.
"""
_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_HEIGHT = "gs_densify:height"
_SMALLEST, _LARGEST = 10, 32
"""Heights of letters in pixels."""


@dataclass(frozen=True)
class Panel:
    """One of the pictures."""

    pixels: np.ndarray
    """uint8 [H, W, 3], of the size of all others."""
    label: str
    ends: tuple[str, str] | None = None
    """What the first and the last colour of `heat` mean; None where it is not in these colours."""


def error_panel(photo: np.ndarray, render: np.ndarray) -> Panel:
    """Returns where a render differs from its photo, both uint8 [H, W, 3]."""
    return Panel(error_heat(absolute_error(photo, render)), "error", ("0", f"{ERROR_AT_END}+"))


def absolute_error(photo: np.ndarray, render: np.ndarray) -> np.ndarray:
    """Returns the mean over channels, float32 [H, W] in [0, 1], of uint8 [H, W, 3]."""
    difference = np.abs(photo.astype(np.int16) - render.astype(np.int16))
    return difference.mean(axis=-1, dtype=np.float32) / np.float32(255)


def error_heat(error: np.ndarray) -> np.ndarray:
    """Returns the colours, uint8 [..., 3], of errors [...] on the one scale."""
    return heat(error / ERROR_AT_END)


def drawn_strip(panels: Sequence[Panel], caption: Sequence[str]) -> Image.Image:
    """Returns the panels side by side over what they are, and a caption.

    Args:
        panels: one at least.
        caption: what stands below, in parts between which lines may break.
    """
    height, width = panels[0].pixels.shape[:2]
    font = ImageFont.load_default(min(max(width // 24, _SMALLEST), _LARGEST))
    lines = _broken(caption, font, len(panels) * width - _line(font))
    strip = Image.new("RGB", (len(panels) * width, height + (1 + len(lines)) * _line(font)))
    draw = ImageDraw.Draw(strip)
    for i, panel in enumerate(panels):
        strip.paste(Image.fromarray(panel.pixels), (i * width, 0))
        _write_label(strip, draw, panel, (i * width, height, width), font)
    for i, line in enumerate(lines, start=1):
        draw.text((_line(font) // 2, height + i * _line(font)), line, "white", font)
    return strip


def save_strip(path: Path, panels: Sequence[Panel], caption: Sequence[str]) -> None:
    """Writes what `drawn_strip` draws as a PNG, making its folder.

    Raises:
        ResultError: the file cannot be written.
    """
    strip = drawn_strip(panels, caption)
    about = PngImagePlugin.PngInfo()
    about.add_text(_HEIGHT, str(len(panels[0].pixels)))
    with atomic_write(path) as file:
        # Level 6 would take twice the time for a tenth less.
        strip.save(file, "PNG", compress_level=1, pnginfo=about)


def read_strip(path: Path, count: int) -> list[np.ndarray]:
    """Returns the `count` pictures of a file of `save_strip`, uint8 [H, W, 3].

    Files of former versions have no caption, and are read, too.

    Raises:
        ResultError: it cannot be read, or is no such file.
    """
    try:
        with open_picture(path) as file:
            height = int(file.info.get(_HEIGHT, file.height))
            strip = np.array(file.convert("RGB"))
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError and others
        raise ResultError(f"{path}: cannot be read as a picture ({error})") from error
    if strip.shape[1] % count or not 0 < height <= len(strip):
        raise ResultError(
            f"{path}: {strip.shape[1]}x{len(strip)} pixels are no {count} pictures side by side",
            action="score the model again with gs-eval",
        )
    return np.split(strip[:height], count, axis=1)


def _line(font: _Font) -> int:
    return math.ceil(1.5 * font.getbbox("Ag")[3])


def _broken(parts: Sequence[str], font: _Font, width: int) -> list[str]:
    """Returns lines of parts, as many in each as there is room for."""
    lines: list[str] = []
    for part in map(_drawable, parts):
        longer = f"{lines[-1]}   {part}" if lines else part
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(part)
    return lines


def _drawable(text: str) -> str:
    """Returns a text without what cannot be drawn: names of files are any bytes."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _write_label(
    strip: Image.Image,
    draw: ImageDraw.ImageDraw,
    panel: Panel,
    place: tuple[int, int, int],
    font: _Font,
) -> None:
    """Writes what a panel is below it, with its scale where it has one."""
    left, top, width = place
    margin = _line(font) // 2
    low, high = panel.ends or ("", "")
    label = f"{panel.label}  {low}".rstrip()
    draw.text((left + margin, top), label, "white", font)
    if panel.ends is None:
        return
    start = left + margin + math.ceil(font.getlength(f"{label} "))
    after = left + width - margin - math.ceil(font.getlength(high))
    draw.text((after, top), high, "white", font)
    length = after - margin // 2 - start
    if length > 0:
        colors = heat(np.linspace(0, 1, length)[None].repeat(max(2, margin), axis=0))
        strip.paste(Image.fromarray(colors), (start, top + (_line(font) - len(colors)) // 2))
