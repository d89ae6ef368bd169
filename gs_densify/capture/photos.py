"""Measure photos: sharpness, brightness, clipped highlights, and a thumbnail to compare."""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from gs_densify.errors import SceneError
from gs_densify.scene.photos.decode import read_photo, unreadable
from gs_densify.scene.photos.load import read_sizes
from gs_densify.scene.photos.names import is_marked_as_mask, photo_files
from gs_densify.scene.photos.open import open_photo
from gs_densify.scene.scene import Size

LONGEST_SIDE = 1024
"""Photos are measured at this size: blur that is invisible here does not matter for training."""
_THUMBNAIL = (32, 32)
_CLIPPED = 250


@dataclass(frozen=True, eq=False)
class PhotoMeasures:
    """What was measured of one photo, at `LONGEST_SIDE`, in grey (ITU-R 601 luma, 0 to 255)."""

    name: str
    size: Size
    """Of the file."""
    sharpness: float
    """Energy of fine detail over that of coarse detail, see `sharpness_of`."""
    brightness: float
    """Mean grey value."""
    clipped: float
    """Share of pixels of 250 or more."""
    thumbnail: np.ndarray
    """[32, 32] float32 grey values."""


def list_photos(folder: Path) -> dict[str, Path]:
    """Returns the photos below `folder`, by suffix: relative paths with slashes, sorted, and the
    files. Files that are marked as masks are none.
    """
    names = {path.relative_to(folder).as_posix(): path for path in sorted(photo_files(folder))}
    return {name: path for name, path in names.items() if not is_marked_as_mask(name)}


def measure_photos(
    files: Mapping[str, Path], *, progress: bool = True
) -> tuple[list[PhotoMeasures], dict[str, str]]:
    """Measures photos, by name, in parallel threads.

    Returns:
        The measures in the order of `files`, without those that gs-train would refuse too, and
        the reason for each of those by name.
    """

    def measure(name: str) -> PhotoMeasures | str:
        try:
            return _measure(files[name], name)
        except SceneError as error:
            return error.found

    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        results = pool.map(measure, files)
        hide = None if progress else True  # None: tqdm shows the bar on terminals only
        found = list(tqdm(results, total=len(files), desc="photos", disable=hide, leave=False))
    refused = {name: one for name, one in zip(files, found, strict=True) if isinstance(one, str)}
    return [one for one in found if isinstance(one, PhotoMeasures)], refused


def sharpness_of(grey: np.ndarray) -> float:
    """Returns how much of the detail of [H, W] grey values is fine detail; 0 for less than 16
    pixels.

    The variance of second differences at full size over that at a quarter of it: the share cancels
    contrast, exposure and most of what the photo shows, which the variance of a Laplacian alone
    follows. The least of four directions, since motion blurs along one.
    """
    if min(grey.shape) < 16:
        return 0.0
    fine, coarse = _second_differences(grey), _second_differences(_quarter(grey))
    return float(np.min(fine / np.maximum(coarse, 1e-6)))


def _second_differences(grey: np.ndarray) -> np.ndarray:
    """Returns [4]: variance of second differences along rows, columns and both diagonals."""
    middle = grey[1:-1, 1:-1]
    pairs = [
        (grey[1:-1, 2:], grey[1:-1, :-2]),
        (grey[2:, 1:-1], grey[:-2, 1:-1]),
        (grey[2:, 2:], grey[:-2, :-2]),
        (grey[2:, :-2], grey[:-2, 2:]),
    ]
    return np.array([(one - 2 * middle + other).var() for one, other in pairs])


def _quarter(grey: np.ndarray) -> np.ndarray:
    """Means of 4x4 pixels."""
    height, width = (side // 4 for side in grey.shape)
    blocks = grey[: 4 * height, : 4 * width].reshape(height, 4, width, 4)
    return np.asarray(blocks.mean(axis=(1, 3)))


def _measure(path: Path, name: str) -> PhotoMeasures:
    (size,) = read_sizes([path], workers=1)
    image = _decode_small(path)
    grey = np.asarray(image, dtype=np.float32)
    return PhotoMeasures(
        name=name,
        size=size,
        sharpness=sharpness_of(grey),
        brightness=float(grey.mean()),
        clipped=float((grey >= _CLIPPED).mean()),
        thumbnail=np.asarray(image.resize(_THUMBNAIL, Image.Resampling.BOX), dtype=np.float32),
    )


def _decode_small(path: Path) -> Image.Image:
    """Returns it grey, with `LONGEST_SIDE`. JPEG decoders make small pictures cheaply."""
    try:
        with open_photo(path) as opened:
            if opened.format == "JPEG" and opened.mode in ("L", "RGB"):
                opened.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
                return opened.convert("L")
    except SceneError:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError and others
        raise unreadable(path, error) from None
    image = Image.fromarray(read_photo(path, use_alpha=True).pixels).convert("L")
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    return image
