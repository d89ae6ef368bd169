"""What the names of photos mean, in a model and on disk: paths, suffixes, and what is the same."""

import os
import posixpath
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

PHOTO_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .tif .tiff .webp .bmp .gif .jp2 .avif .heic .heif".split()
)
"""What files on disk end in that are looked at where a photo is not there under its own name."""

VIDEO_SUFFIXES = frozenset(".mp4 .mov .m4v .avi .mkv .webm .mpg .mpeg .wmv .mts .3gp".split())

_ANY_SUFFIX = re.compile(r"\.(?=[a-z0-9]*[a-z])[a-z0-9]{2,5}$", re.IGNORECASE)
_DRIVE = re.compile(r"^([A-Za-z]):")
_MASK_MARK = re.compile(r"[._-]mask$", re.IGNORECASE)
_FOREIGN_FOLDERS = ("__MACOSX",)


def inner_path(name: str) -> str:
    r"""Returns the path below a folder that a name in a model means; empty where it means none.

    ``C:\photos\a.jpg`` becomes ``C/photos/a.jpg``, ``/home/a.jpg`` becomes ``home/a.jpg``, and
    ``../a.jpg`` ``a.jpg``: no name leads out of the folder.
    """
    path = _DRIVE.sub(r"\1/", name.replace("\\", "/").lstrip("/"))
    return posixpath.normpath("/" + path).lstrip("/")


def key_of(path: str) -> str:
    """Returns what paths have in common that differ in case, Unicode form or kind of slash only."""
    return unicodedata.normalize("NFC", path.replace("\\", "/")).casefold()


def stem_of(path: str) -> str:
    """Returns a path without the suffix of a photo that Pillow reads."""
    stem, suffix = os.path.splitext(path)
    return stem if suffix.lower() in PHOTO_SUFFIXES else path


def photo_keys(name: str) -> set[str]:
    """Returns the keys that the file of a photo may have without its suffix.

    A suffix that Pillow does not read, as of a raw photo, may be one or be part of the name.
    """
    stem = stem_of(name)
    return {key_of(stem)} if stem != name else {key_of(name), key_of(_ANY_SUFFIX.sub("", name))}


def has_foreign_suffix(name: str) -> bool:
    """Returns whether a name ends like a file, but not like a photo that Pillow reads."""
    return stem_of(name) == name and _ANY_SUFFIX.search(name) is not None


def mask_keys(name: str) -> set[str]:
    """Returns the keys that a mask of a photo may have without its suffix and its mark."""
    return {key_of(name), *photo_keys(name)}


def without_mask_mark(stem: str) -> str:
    """Returns ``a.jpg`` for ``a.jpg.mask``, ``a`` for ``a_mask``, and others as they are."""
    return _MASK_MARK.sub("", stem)


def is_marked_as_mask(path: str) -> bool:
    """Returns whether the name of an image file says that it is a mask."""
    return _MASK_MARK.search(stem_of(path)) is not None


def ends_of(key: str) -> list[str]:
    """Returns what is left of a path without its first folder, its first two, and so on."""
    parts = key.split("/")
    return ["/".join(parts[i:]) for i in range(1, len(parts))]


def photo_files(folder: Path, _above: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Yields the files below a folder that end like photos, links followed, in no special order.

    Hidden files, such as those that macOS adds (``._a.jpg``), and folders that it adds are none.
    """
    here = os.path.realpath(folder)
    if here in _above or not os.path.isdir(here):
        return
    for entry in os.scandir(folder):
        if entry.is_dir() and not is_foreign(entry.name):
            yield from photo_files(folder / entry.name, _above | {here})
        elif entry.is_file() and _is_photo(entry.name):
            yield folder / entry.name


def has_photos(folder: Path) -> bool:
    """Returns whether there are photos right in a folder."""
    return folder.is_dir() and any(_is_photo(entry.name) for entry in os.scandir(folder))


def _is_photo(file: str) -> bool:
    return os.path.splitext(file)[1].lower() in PHOTO_SUFFIXES and not is_foreign(file)


def is_video(path: Path) -> bool:
    """Returns whether a path leads to a file that ends like a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()


def is_foreign(name: str) -> bool:
    """Returns whether a file or folder is hidden, or added by an operating system."""
    return name.startswith(".") or name in _FOREIGN_FOLDERS
