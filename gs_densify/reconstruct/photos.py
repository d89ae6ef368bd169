"""The photos to reconstruct from: which files can be used, and what they say of their cameras."""

import hashlib
import itertools
import posixpath
import re
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from gs_densify.capture.photos import list_photos, measure_photos
from gs_densify.errors import SceneError
from gs_densify.reconstruct import left_out
from gs_densify.reconstruct.stages import digest_of
from gs_densify.scene.layout import Layout, is_side_folder
from gs_densify.scene.photos.names import PHOTO_SUFFIXES
from gs_densify.scene.photos.open import has_alpha, open_photo

LEAST = 3
"""Photos that a reconstruction takes."""

_EXIF_IFD, _MAKE, _MODEL, _FOCAL, _FOCAL_35 = 0x8769, 0x010F, 0x0110, 0x920A, 0xA405
_ORIENTATION, _UPRIGHT, _TURNED = 0x0112, 1, range(5, 9)
_READ_BY_COLMAP = ("JPEG", "MPO", "PNG", "TIFF", "BMP")
_NOT_IN_LISTS = re.compile(r"[\s#]+")
_WRITTEN = (".jpg", ".jpeg", ".png")
"""Suffixes of photos that keep their names when they are converted."""


@dataclass(frozen=True)
class Placed:
    """A photo in the scene."""

    name: str
    """Its path below the image folder."""
    width: int
    height: int
    camera: str
    """Maker, model and focal lengths by EXIF: photos of one camera have the same."""


@dataclass(frozen=True)
class Photo:
    """A photo that can be used."""

    placed: Placed
    path: Path
    """Where it is now."""
    is_converted: bool
    """Whether the scene needs a copy in another form: turned as EXIF asks, or as JPEG or PNG."""


def find_photos(source: Path, *, without: Path) -> dict[str, Path]:
    """Returns the photos of a folder, by name: those in ``images`` or ``input``, or else in it and
    the folders below; not those in `without`, smaller ones as in ``images_4``, and masks.

    Raises:
        SceneError: there are none.
    """
    images = Layout(source).images(1)
    listed = list_photos(images if images.is_dir() else source)
    made = without.absolute()
    found = {
        name: path
        for name, path in listed.items()
        if made not in path.absolute().parents
        and not any(is_side_folder(part) for part in name.split("/")[:-1])
    }
    if not found:
        raise SceneError(
            f"{source} has no photos",
            expected=f"expected files that end in {' '.join(sorted(PHOTO_SUFFIXES))}",
            action="name the folder that holds them, or a video",
        )
    return found


def files_digest(files: dict[str, Path]) -> str:
    """Returns a digest of names, sizes and time stamps, by which changed photos are noticed."""
    stats = {name: path.stat() for name, path in files.items()}
    return digest_of([[name, one.st_size, one.st_mtime_ns] for name, one in stats.items()])


def usable_photos(files: dict[str, Path]) -> list[Photo]:
    """Returns the photos that can be used, in the order of their names, and names the others.

    Raises:
        SceneError: they are too few.
    """
    measures, unreadable = measure_photos(files)
    left_out.say(left_out.UNREADABLE, unreadable, unreadable)
    readable = [one.name for one in measures]
    copies = _copies({name: files[name] for name in readable})
    left_out.say(left_out.DUPLICATE, copies)
    names = [name for name in readable if name not in copies]
    if len(names) < LEAST:
        raise too_few(len(names), len(files))
    return _with_cameras({name: files[name] for name in names})


def too_few(usable: int, all_photos: int) -> SceneError:
    """Returns what to raise where too few photos can be used."""
    return SceneError(
        f"{usable} of {all_photos} photos can be used",
        expected=f"expected {LEAST} at least, better 50 or more",
        action="take more, each of which shows more than half of what its neighbour shows",
    )


def _copies(files: dict[str, Path]) -> list[str]:
    """Returns the photos that are byte for byte like one with a shorter or earlier name."""
    by_size: dict[int, list[str]] = defaultdict(list)
    for name, path in files.items():
        by_size[path.stat().st_size].append(name)
    copies, seen = [], set()
    for names in by_size.values():
        for name in sorted(names, key=lambda one: (len(one), one)) if len(names) > 1 else ():
            content = hashlib.sha256(files[name].read_bytes()).digest()
            if content in seen:
                copies.append(name)
            seen.add(content)
    return copies


def _with_cameras(files: dict[str, Path]) -> list[Photo]:
    taken, photos = set(files), []
    for name, path in files.items():
        with open_photo(path) as image:
            exif = image.getexif()
            is_turned = exif.get(_ORIENTATION, _UPRIGHT) in _TURNED
            is_converted = not is_used_as_it_is(image)
            wanted = _name_in_scene(name, image, taken - {name}, is_converted)
            size = image.size[::-1] if is_turned else image.size
            photos.append(Photo(Placed(wanted, *size, camera_of(exif)), path, is_converted))
        taken.add(wanted)
    return sorted(photos, key=lambda photo: photo.placed.name)


def is_used_as_it_is(image: Image.Image) -> bool:
    """Returns whether the file of a photo can be used without a change."""
    upright = image.getexif().get(_ORIENTATION, _UPRIGHT) == _UPRIGHT
    return image.format in _READ_BY_COLMAP and upright


def camera_of(exif: Image.Exif) -> str:
    """Returns maker, model and focal lengths, as far as EXIF says them."""
    details = exif.get_ifd(_EXIF_IFD)
    values: list[Any] = [exif.get(_MAKE), exif.get(_MODEL)]
    values += [details.get(_FOCAL), details.get(_FOCAL_35)]
    return " ".join(str(value).strip("\0 ") for value in values if value)


def _name_in_scene(
    name: str, image: Image.Image, taken: Collection[str], is_converted: bool
) -> str:
    """Returns a name without blanks, which pycolmap's lists of pairs cannot hold, whose suffix says
    the format that the photo has in the scene.
    """
    wanted = _NOT_IN_LISTS.sub("_", name)
    stem, suffix = posixpath.splitext(wanted)
    if is_converted and suffix.lower() not in _WRITTEN:
        suffix = ".png" if has_alpha(image) else ".jpg"
    numbers = (f"-{i}" for i in itertools.count(2))
    ends = itertools.chain([""], numbers)
    return next(free for end in ends if (free := f"{stem}{end}{suffix}") not in taken)
