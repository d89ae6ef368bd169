"""The image folder of the scene: links to the photos, or copies where that cannot be."""

import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import ImageOps

from gs_densify.errors import SceneError
from gs_densify.messages import remark, tracked
from gs_densify.reconstruct.photos import Photo
from gs_densify.scene.photos.open import open_photo

_QUALITY = 97
"""Of JPEG copies; at full resolution of colours, a change that no one sees."""


def place_photos(photos: Sequence[Photo], folder: Path) -> None:
    """Fills a new folder with the photos and says how.

    A photo becomes a hard link, which takes no space and outlives its other names; a copy where
    the file systems differ; and a converted copy where it is turned or of another format.

    Raises:
        SceneError: the disk cannot be written to.
    """
    unfinished = folder.with_name(f".{folder.name}")
    for there in (unfinished, folder):
        shutil.rmtree(there, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            placed = pool.map(lambda photo: _place(photo, unfinished / photo.placed.name), photos)
            ways = list(tracked(placed, "copying photos", len(photos), unit="photo", leave=False))
        unfinished.rename(folder)
    except OSError as error:
        raise SceneError(
            f"{folder} cannot be written ({error.strerror or error})",
            action="give --out a place with more room",
        ) from error
    counts = {way: ways.count(way) for way in ("linked", "copied", "converted")}
    said = {
        "linked": "linked (hard links: no space is taken)",
        "copied": "copied",
        "converted": "converted to upright JPEG or PNG",
    }
    parts = [f"{counts[way]} {text}" for way, text in said.items() if counts[way]]
    remark(f"images/: {len(photos)} photos, {', '.join(parts)}")


def _place(photo: Photo, to: Path) -> str:
    to.parent.mkdir(parents=True, exist_ok=True)
    if photo.is_converted:
        _convert(photo.path, to)
        return "converted"
    source = photo.path.resolve()  # a link to a link would lead nowhere from another folder
    try:
        os.link(source, to)
        return "linked"
    except OSError:
        shutil.copyfile(source, to)
        return "copied"


def _convert(path: Path, to: Path) -> None:
    """Writes a photo as its EXIF orientation shows it, with the rest of its EXIF."""
    with open_photo(path) as opened:
        image = ImageOps.exif_transpose(opened)
        exif = image.getexif()
        if to.suffix.lower() == ".png":
            image.save(to, exif=exif, compress_level=1)
        else:
            image.convert("RGB").save(to, exif=exif, quality=_QUALITY, subsampling=0)
