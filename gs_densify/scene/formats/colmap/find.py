"""Which of the models in a data set is meant."""

import logging
from pathlib import Path

from gs_densify.errors import SceneError
from gs_densify.messages import DOUBT
from gs_densify.scene.formats.colmap.binary import count_binary_images
from gs_densify.scene.formats.colmap.text import read_images
from gs_densify.scene.layout import base_of, folders_below
from gs_densify.scene.unposed import ANY_PHOTOS, what_it_is

_log = logging.getLogger(__name__)

_FILES = ("cameras", "images", "points3D")


def find_model(root: Path) -> Path:
    """Returns the folder of the model of a data set, or ``root`` if it is one.

    ``sparse/0`` if it holds one, else ``sparse``, else the folder of ``sparse`` with the most
    images, else ``root``; where it has none of these, the only one that is found in the same way
    in a folder below. A larger model beside ``sparse/0`` is worth a warning, since COLMAP
    numbers models in the order in which it began them.

    Raises:
        SceneError: no such folder holds a model, or several below ``root`` do.
    """
    own = _model_in(root)
    if own is not None:
        return own
    found = [model for base in _bases_below(root) if (model := _model_in(base)) is not None]
    if not found:
        raise _no_model(root)
    if len(found) > 1:
        raise SceneError(
            f"{root} holds {len(found)} models: {', '.join(map(str, found))}",
            expected="expected one",
            action=f"name the scene by the path of one: {found[0]}",
        )
    return found[0]


def has_model(root: Path) -> bool:
    """Returns whether `find_model` finds one, or several."""
    return extension_of(root) is not None or bool(_bases_below(root))


def extension_of(folder: Path) -> str | None:
    """Returns ``.bin`` or ``.txt``, whichever the folder has all three files of; binary first."""
    for extension in (".bin", ".txt"):
        if all((folder / (name + extension)).is_file() for name in _FILES):
            return extension
    return None


def _bases_below(root: Path) -> list[Path]:
    """Returns the folders below ``root`` that hold models, sorted."""
    return sorted({base_of(folder) for folder in folders_below(root) if extension_of(folder)})


def _children(base: Path) -> list[Path]:
    """Returns the folders in ``sparse``, sorted."""
    sparse = base / "sparse"
    return sorted(p for p in sparse.iterdir() if p.is_dir()) if sparse.is_dir() else []


def _model_in(base: Path) -> Path | None:
    """Returns the model that ``base`` itself has."""
    sparse = base / "sparse"
    models = [folder for folder in _children(base) if extension_of(folder)]
    if sparse / "0" not in models and extension_of(sparse):
        return sparse
    if not models:
        return base if extension_of(base) else None
    sizes = {folder: _count_images(folder) for folder in models if len(models) > 1}
    largest = max(models, key=lambda folder: sizes.get(folder, 0))
    if sparse / "0" not in models:
        return largest
    if sizes and sizes[largest] > sizes[sparse / "0"]:
        message = "%s: using sparse/0 (%d images); sparse/%s has %d; to use it, give --scene %s"
        _log.log(DOUBT, message, base, sizes[sparse / "0"], largest.name, sizes[largest], largest)
    return sparse / "0"


def _count_images(folder: Path) -> int:
    if extension_of(folder) == ".bin":
        return count_binary_images(folder / "images.bin")
    return len(read_images(folder / "images.txt"))


def _no_model(root: Path) -> SceneError:
    others = [folder for folder in _children(root) if folder.name != "0"]
    tried = [root / "sparse" / "0", root / "sparse", *others]
    partial = {f.name for d in tried if d.is_dir() for f in d.iterdir() if f.stem in _FILES}
    above = _model_in(root.parent)
    known = None if partial or above is not None else what_it_is(root)
    if known is not None:
        return known
    found = f"found only {', '.join(sorted(partial))}" if partial else "found none of them"
    action = f"give the folder that holds images/ and sparse/, or make one with {ANY_PHOTOS}"
    return SceneError(
        f"no COLMAP model in {', '.join(map(str, tried))} or another folder there: {found}",
        expected="expected cameras, images and points3D as .bin or .txt",
        action=action if above is None else f"give the folder above: {root.parent}",
    )
