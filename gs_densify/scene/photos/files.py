"""Which file belongs to which name: photos by COLMAP's names, masks by those of the photos.

Files are paired by name, never by their order. Where a photo is not there under its exact name, one
that differs in case or in suffix stands in if it is the only one.
"""

import logging
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from gs_densify.errors import SceneError

_log = logging.getLogger(__name__)

_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp")


def image_folder(root: Path, downscale: int) -> Path:
    """Returns ``images`` for 1, ``images_N`` for N; ``SceneError`` for less than 1."""
    if downscale < 1:
        raise SceneError(
            f"downscale is {downscale}",
            expected="expected 1, 2, 4 or another whole number of 1 or more",
            action="give --downscale 1 for the photos in images/",
        )
    return root / ("images" if downscale == 1 else f"images_{downscale}")


def find_photos(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """Files of the photos ``names`` in ``folder``; a name without a file is left out.

    Raises:
        SceneError: no such folder, or several files for a name.
    """
    if not folder.is_dir():
        raise _no_folder(folder)
    found = {name: folder / name for name in names if os.path.isfile(folder / name)}
    missing = [name for name in names if name not in found]
    similar = _similar(folder, missing, set(found.values())) if missing else {}
    if similar:
        message = (
            "%s: %d of %d photos differ from COLMAP's names in case or suffix, first %r for %r"
        )
        name, path = next(iter(similar.items()))
        _log.warning(message, folder, len(similar), len(names), _relative(path, folder), name)
    return {**found, **similar}


def check_missing(
    folder: Path, names: Sequence[str], found: dict[str, Path], *, skip: bool
) -> None:
    """Refuses missing photos, or with ``skip`` says how many; more than half are always refused."""
    missing = [name for name in names if name not in found]
    if not missing:
        return
    what = f"{folder} lacks {len(missing)} of the {len(names)} photos that COLMAP registered"
    if not skip:
        raise SceneError(
            f"{what}, first {missing[0]!r}",
            expected="expected every one under COLMAP's name",
            action="add them, choose another folder with --downscale, or train without them:"
            " --data.skip-missing",
        )
    if 2 * len(missing) > len(names):
        raise SceneError(
            f"{what}, first {missing[0]!r}",
            expected="expected at least half of them, also with --data.skip-missing",
            action="check that these photos are those of this model",
        )
    _log.warning("%s, first %r; going on without them", what, missing[0])


def find_masks(folders: Sequence[Path], names: Sequence[str]) -> dict[str, Path]:
    """Returns mask files of the photos ``names`` in the first of ``folders`` that exists.

    A mask has the photo's name, with the same or another suffix, or with ``.png`` added to it (as
    COLMAP has it). Photos without one are left out, with a warning.

    Raises:
        SceneError: several masks for a photo, or a folder in which no file is named after one.
    """
    folder = next((folder for folder in folders if folder.is_dir()), None)
    if folder is None:
        return {}
    index = _index(folder)
    masks: dict[str, Path] = {}
    for name in names:
        candidates = {*index[_key(_stem(name))], *index[_key(name)]}
        if len(candidates) > 1:
            raise _several(folder, name, candidates, "mask")
        if candidates:
            masks[name] = candidates.pop()
    _check_owners(masks)
    if not masks:
        raise SceneError(
            f"{folder} has {sum(map(len, index.values()))} image files, none of them named after a"
            " photo",
            expected=f"expected e.g. {_stem(names[0])}.png or {names[0]}.png",
            action="rename them, or give --data.masks none",
        )
    if len(masks) < len(names):
        first = next(name for name in names if name not in masks)
        message = "%s: %d of %d photos have no mask and count in full, first %r"
        _log.warning(message, folder, len(names) - len(masks), len(names), first)
    return masks


def _similar(folder: Path, names: Sequence[str], taken: set[Path]) -> dict[str, Path]:
    """Returns the only file for each name, but for case and suffix, among those not yet taken."""
    index = _index(folder)
    similar: dict[str, Path] = {}
    for name in names:
        candidates = set(index[_key(_stem(name))]) - taken
        if len(candidates) > 1:
            raise _several(folder, name, candidates, "photo")
        if candidates:
            similar[name] = candidates.pop()
    _check_owners(similar)
    return similar


def _check_owners(files: dict[str, Path]) -> None:
    """Refuses a file that stands for two names."""
    owner = {path: name for name, path in files.items()}
    for name, path in files.items():
        if owner[path] != name:
            raise SceneError(
                f"{path} may belong to {name!r} or {owner[path]!r}, which COLMAP both registered",
                expected="expected a file for each",
                action="give the files COLMAP's names",
            )


def _index(folder: Path) -> "defaultdict[str, list[Path]]":
    """Returns image files below ``folder`` by path without suffix, case and Unicode form folded."""
    index: defaultdict[str, list[Path]] = defaultdict(list)
    for place, _, files in os.walk(folder):
        for file in files:
            path = Path(place, file)
            if path.suffix.lower() in _SUFFIXES:
                index[_key(_stem(_relative(path, folder)))].append(path)
    return index


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _stem(name: str) -> str:
    """Returns ``name`` without an image file's suffix."""
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in _SUFFIXES else name


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _several(folder: Path, name: str, candidates: set[Path], what: str) -> SceneError:
    files = ", ".join(sorted(_relative(path, folder) for path in candidates))
    return SceneError(
        f"{folder} has {len(candidates)} files that may be the {what} {name!r}: {files}",
        expected="expected one",
        action="remove or rename the others",
    )


def _no_folder(folder: Path) -> SceneError:
    root = folder.parent
    others = sorted(p.name for p in root.glob("images*") if p.is_dir())
    factors = [
        match[1] or "1" for n in others if (match := re.fullmatch(r"images(?:_([1-9]\d*))?", n))
    ]
    advice = (
        f"give --downscale {' or '.join(factors)}"
        if factors
        else "put the photos into images/ and give --downscale 1"
    )
    if folder.name != "images" and "1" in factors:
        advice += (
            ", or --data.image-source resized (gs-eval: --image-source resized) to make them from"
            " images/"
        )
    found = ", ".join(others) if others else "no image folder"
    return SceneError(
        f"{folder} does not exist: {root} has {found}",
        expected=f"expected {folder.name}/",
        action=advice,
    )
