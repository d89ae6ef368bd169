"""Where the parts of a data set lie: its folder, its model, its photos and masks.

Tools put them into different places. Each part is where the first rule finds it; docs/data.md lists
the rules. Standard library only.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gs_densify.errors import SceneError
from gs_densify.scene.photos.names import has_photos, is_foreign, key_of, photo_keys, stem_of

_SPARSE = "sparse"
_PHOTOS, _UNPREPARED = "images", "input"
_FACTOR = re.compile(rf"{_PHOTOS}(?:_([1-9]\d*))?")
_DEPTH = 4
"""Levels of folders that are looked through where a part is in none of its usual places."""


def data_set_of(folder: Path) -> tuple[Path, Path | None]:
    """Returns the folder of the data set that a path means, and where it says that the model is.

    A path may end at the data set, or at a model or a folder of models within it, which it then
    chooses; the data set is then the nearest folder above that has photos. The second is None where
    the data set's own folder says it.
    """
    absolute = Path(os.path.abspath(folder))  # unlike resolve(), this keeps the names of links
    if _has_photos(absolute):
        return absolute, None
    is_model = _holds_model(absolute)
    if (absolute / _SPARSE).is_dir() or not (is_model or _SPARSE in _last_two(absolute)):
        return absolute, None
    base = base_of(absolute)
    root = next((one for one in [base, *base.parents[:2]] if _has_photos(one)), base)
    place = base if absolute.name == _SPARSE and not is_model else absolute
    return root, None if place == root else place


def is_part_with_photos(folder: Path) -> bool:
    """Returns whether a folder is that of the photos of a data set, whose model is beside it."""
    absolute = Path(os.path.abspath(folder))
    is_whole = (absolute / _SPARSE).is_dir() or _holds_model(absolute)
    above = absolute.parent
    has_model = (above / _SPARSE).is_dir() or _holds_model(above)
    return _is_for_photos(absolute.name) and has_model and not is_whole


def _holds_model(folder: Path) -> bool:
    return any((folder / f"cameras{suffix}").is_file() for suffix in (".bin", ".txt"))


def base_of(model: Path) -> Path:
    """Returns the folder that holds the ``sparse`` of a model; without one, the model's own."""
    if model.parent.name == _SPARSE:
        return model.parent.parent
    return model.parent if model.name == _SPARSE else model


def photo_folders(root: Path) -> list[str]:
    """Returns the names of the folders in ``root`` that look as if meant for photos, sorted."""
    if not root.is_dir():
        return []
    names = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
    return [name for name in names if _is_for_photos(name)]


def folders_below(root: Path) -> list[Path]:
    """Returns the folders up to `_DEPTH` levels below ``root``, sorted, without those meant for
    photos in other sizes and masks.
    """
    return sorted(_below(root, _DEPTH))


def _below(root: Path, depth: int) -> Iterator[Path]:
    if not root.is_dir() or depth == 0:
        return
    for entry in os.scandir(root):
        if entry.is_dir() and not is_foreign(entry.name) and not is_side_folder(entry.name):
            yield root / entry.name
            yield from _below(root / entry.name, depth - 1)


def is_side_folder(name: str) -> bool:
    """Returns whether a folder has a name as those of smaller photos (``images_4``) and masks."""
    match = _FACTOR.fullmatch(name)
    return bool(match and match[1]) or "mask" in name.casefold()


def _is_for_photos(name: str) -> bool:
    return name == _UNPREPARED or name.startswith(_PHOTOS)


def _has_photos(folder: Path) -> bool:
    return bool(photo_folders(folder)) or has_photos(folder)


def _last_two(path: Path) -> tuple[str, str]:
    return path.name, path.parent.name


@dataclass(frozen=True)
class Layout:
    """Where photos and masks lie: beside the model, or in a folder above up to the data set's."""

    root: Path
    """Folder of the data set."""
    model: Path | None = None
    """Folder of the model; None: right in ``root``, or not known."""
    names: Sequence[str] = ()
    """Photos that the model names, to know their folder by."""

    def images(self, downscale: int) -> Path:
        """Returns the folder of the photos: ``images`` for 1, ``images_N`` for N.

        At full size, photos may also lie in ``input``, in no folder of their own, or in the only
        folder in which the first of ``names`` is found. Where there is none of these, ``images`` in
        ``root`` is returned.

        Raises:
            SceneError: the factor is less than 1, or there are several such folders.
        """
        if downscale < 1:
            raise SceneError(
                f"downscale is {downscale}",
                expected="expected 1, 2, 4 or another whole number of 1 or more",
                action="give --downscale 1 for the photos in images/",
            )
        name = _PHOTOS if downscale == 1 else f"{_PHOTOS}_{downscale}"
        places = [base / name for base in self._bases]
        if downscale == 1:
            places += [base / _UNPREPARED for base in self._bases]
            places += [base for base in self._bases if has_photos(base)]
        found = next((place for place in places if place.is_dir()), None)
        if found is None and downscale == 1 and self.names:
            found = self._by_name(self.names[0])
        return found or self.root / name

    def _by_name(self, name: str) -> Path | None:
        """Returns the only folder below ``root`` in which a photo is found by its name."""
        *above, last = key_of(name).split("/")
        keys, found = photo_keys(last), set()
        for folder in folders_below(self.root):
            if any(key_of(stem_of(entry.name)) in keys for entry in os.scandir(folder)):
                rest = list(above)
                while rest and key_of(folder.name) == rest.pop() and folder.parent != self.root:
                    folder = folder.parent
                found.add(folder)
        if len(found) > 1:
            listed = ", ".join(sorted(path.relative_to(self.root).as_posix() for path in found))
            raise SceneError(
                f"{self.root} has a photo {name!r} in {len(found)} folders: {listed}",
                expected="expected one folder of photos, called images",
                action="rename the one to train on to images",
            )
        return next(iter(found), None)

    def masks(self, downscale: int) -> list[Path]:
        """Returns the folders that may hold masks of photos at a size, the one to prefer first."""
        names = [f"masks_{downscale}"] * (downscale > 1) + ["masks"]
        return [base / name for name in names for base in self._bases]

    def named_like_masks(self) -> list[Path]:
        """Returns the folders that are named as if they held masks, sorted."""
        found = {path for base in self._bases if base.is_dir() for path in base.iterdir()}
        return sorted(path for path in found if "mask" in path.name.casefold() and path.is_dir())

    @property
    def _bases(self) -> list[Path]:
        beside = self.root if self.model is None else base_of(self.model)
        above = [one for one in beside.parents if self.root in one.parents]
        return [beside, *above, self.root] if beside != self.root else [self.root]


def no_image_folder(folder: Path) -> SceneError:
    """Returns what to raise where the folder of the photos is missing."""
    root = folder.parent
    others = photo_folders(root)
    factors = [match[1] or "1" for name in others if (match := _FACTOR.fullmatch(name))]
    advice = (
        f"give --downscale {' or '.join(factors)}"
        if factors
        else "put the photos into images/ and give --downscale 1"
    )
    if folder.name != _PHOTOS and "1" in factors:
        advice += ", or --data.image-source resized to make them from images/"
    found = ", ".join(others) if others else "no image folder"
    return SceneError(
        f"{folder} does not exist: {root} has {found}",
        expected=f"expected {folder.name}/",
        action=advice,
    )
