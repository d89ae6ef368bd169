"""What a view shows: the photo as it is, or resized and undistorted once and kept in the cache.

A prepared photo is a PNG of its own, with the mask as its alpha channel: exact, and both in one
file. At compression level 1 it takes a third of the raw size and decodes in about twice the time
of a JPEG (level 6: 15 % smaller, three times slower to write). Its name is a digest of all that its
pixels depend on. For the files of photo and mask, path, size and time stamp stand in: reading
gigabytes at every start to learn that nothing changed would take longer than decoding them.
"""

import dataclasses
import hashlib
import io
import json
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np
from PIL import Image

from gs_densify.errors import SceneError
from gs_densify.scene.cache import default_cache, store
from gs_densify.scene.photos.decode import Photo, read_mask, read_photo
from gs_densify.scene.photos.lens import undistortion
from gs_densify.scene.photos.resize import is_resized, resize_mask, resize_photo
from gs_densify.scene.scene import Recipe, Size, View

_VERSION = 2
"""Raise it with every change of what is written."""


def read_view(view: View, *, is_kept: bool = True) -> Photo:
    """Returns pixels and mask of a view; what is made for it is kept unless told otherwise.

    Raises:
        SceneError: a photo or mask that cannot be used, or a cache that cannot be written.
    """
    if view.recipe is None:
        photo = _masked_photo(view)
    else:
        photo = _prepared(view, view.recipe, is_kept=is_kept)
    height, width = photo.pixels.shape[:2]
    if (width, height) != (view.width, view.height):
        raise SceneError(
            f"{view.path} decodes to {width}x{height}",
            expected=f"expected {view.width}x{view.height} as when the scene was loaded",
            action="leave photos alone while they are in use",
        )
    return photo


def may_have_mask(view: View) -> bool:
    """Returns whether some pixel of a view may not count; which, its photo says."""
    recipe = view.recipe
    if view.mask is not None or recipe is None or recipe.lens is None:
        return view.mask is not None
    return undistortion(recipe.lens, recipe.size).has_blank


def cache_path(view: View) -> Path:
    """Returns where the prepared photo of a view is kept."""
    digest = hashlib.sha256(json.dumps(inputs_of(view), sort_keys=True).encode()).hexdigest()
    return photo_cache() / digest[:2] / f"{digest[2:34]}.png"


def photo_cache() -> Path:
    """Returns the folder of all prepared photos; it may be removed while no run is loading."""
    return default_cache() / "photos"


def _prepared(view: View, recipe: Recipe, *, is_kept: bool) -> Photo:
    path = cache_path(view)
    if path.is_file():
        try:
            return read_photo(path, use_alpha=True)
        except SceneError:
            pass  # damaged from outside: it is made again
    photo = _carry_out(recipe, _masked_photo(view))
    if is_kept:
        store(path, _encoded(photo))
    return photo


def _carry_out(recipe: Recipe, photo: Photo) -> Photo:
    pixels, mask = photo
    if recipe.resize_filter is not None:
        pixels = resize_photo(pixels, recipe.size, recipe.resize_filter)
        mask = None if mask is None else resize_mask(mask, recipe.size, recipe.resize_filter)
    if recipe.lens is None:
        return Photo(pixels, mask)
    undistorted = undistortion(recipe.lens, recipe.size)
    if mask is not None:
        mask = undistorted.apply_mask(mask)
    elif undistorted.has_blank:
        mask = undistorted.valid
    return Photo(undistorted.apply(pixels), mask)


def _masked_photo(view: View) -> Photo:
    """Returns the photo as it is on disk, with the mask that its source gives."""
    source = view.mask
    photo = read_photo(view.path, use_alpha=source is not None)
    if source is None:
        return photo
    mask = photo.mask
    if mask is not None and source.invert:
        mask = ~mask
    if source.path is not None:
        height, width = photo.pixels.shape[:2]
        in_file = _mask_file(source.path, (width, height), invert=source.invert)
        mask = in_file if mask is None else mask & in_file
    return Photo(photo.pixels, mask)


def _mask_file(path: Path, size: Size, *, invert: bool) -> np.ndarray:
    """Returns the mask in a file, at the size of the photo."""
    counts = read_mask(path) != invert
    height, width = counts.shape
    if not is_resized((width, height), size):
        raise SceneError(
            f"{path} has {width}x{height} pixels but its photo {size[0]}x{size[1]}",
            expected="expected the same aspect ratio",
            action="make the mask anew, or give --data.masks none",
        )
    return resize_mask(counts, size)


def _encoded(photo: Photo) -> bytes:
    channels = photo.pixels
    if photo.mask is not None:
        channels = np.dstack([channels, np.where(photo.mask, 255, 0).astype(np.uint8)])
    buffer = io.BytesIO()
    Image.fromarray(channels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def inputs_of(view: View) -> list:
    """Returns all that the pixels of a view depend on, as JSON has it."""
    mask = view.mask
    return [
        _VERSION,
        _versions(),
        _file_state(view.path),
        dataclasses.asdict(view.recipe) if view.recipe else None,
        [mask.path and _file_state(mask.path), mask.alpha, mask.invert] if mask else None,
    ]


def _file_state(path: Path) -> list:
    try:
        state = path.stat()
    except OSError as error:
        raise SceneError(
            f"{path} cannot be read ({error.strerror})",
            expected="expected the file that was there when the scene was loaded",
            action="leave photos alone while they are in use",
        ) from None
    return [str(path.resolve()), state.st_size, state.st_mtime_ns]


@cache
def _versions() -> list[str]:
    """Versions of what computes the pixels."""
    return [metadata.version(package) for package in ("pillow", "pycolmap", "numpy")]
