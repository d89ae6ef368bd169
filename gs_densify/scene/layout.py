"""Where the parts of a data set lie: its folder, its model, its photos and masks.

Tools put them into different places, all known here. Each part is where the first rule finds it;
docs/data.md lists the rules. Standard library only.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from gs_densify.errors import SceneError
from gs_densify.scene.photos.names import has_photos

MODEL_BASES = ("colmap", "dense", "dense/0", "distorted")
"""Folders of a data set that may hold the model, where the data set's own folder has none."""

_SPARSE = "sparse"
_PHOTOS, _UNPREPARED = "images", "input"
_FACTOR = re.compile(rf"{_PHOTOS}(?:_([1-9]\d*))?")


def data_set_of(folder: Path) -> tuple[Path, Path | None]:
    """Returns the folder of the data set that a path means, and where it says that the model is.

    A path may end at the data set, or at a model or a folder of models within it, which it then
    chooses. The second is None where the data set's own folder says it.
    """
    absolute = Path(os.path.abspath(folder))  # unlike resolve(), this keeps the names of links
    is_data_set = photo_folders(absolute) or has_photos(absolute) or (absolute / _SPARSE).is_dir()
    base = absolute if is_data_set else base_of(absolute)
    is_inner = base.name in MODEL_BASES and not photo_folders(base)
    root = base.parent if is_inner and photo_folders(base.parent) else base
    place = absolute if absolute.parent.name == _SPARSE else base
    return root, None if place == root else place


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
    return [name for name in names if name == _UNPREPARED or name.startswith(_PHOTOS)]


@dataclass(frozen=True)
class Layout:
    """Where photos and masks lie: beside the model or in the data set's folder, in this order."""

    root: Path
    """Folder of the data set."""
    model: Path | None = None
    """Folder of the model; None: right in ``root``, or not known."""

    def images(self, downscale: int) -> Path:
        """Returns the folder of the photos: ``images`` for 1, ``images_N`` for N.

        At full size, photos may also lie in ``input`` or, beside the model, in no folder of their
        own. Where none of these exists, the one in ``root`` is returned.

        Raises:
            SceneError: the factor is less than 1.
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
        return next((place for place in places if place.is_dir()), self.root / name)

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
        return [beside, self.root] if beside != self.root else [self.root]


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
