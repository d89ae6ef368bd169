"""Which file belongs to which name: photos by COLMAP's names, masks by those of the photos.

Files are paired by name, never by their order, and each name takes the first of these rules by
which a file is there: the exact path, a path that means the same (see `names`), the end of the
path. A rule takes a file only if it is the only one, and no other name may mean it.
"""

import logging
import os
from collections import ChainMap, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from gs_densify.errors import SceneError
from gs_densify.messages import DOUBT
from gs_densify.scene.layout import no_image_folder
from gs_densify.scene.photos.names import (
    ends_of,
    has_foreign_suffix,
    key_of,
    mask_keys,
    photo_files,
    photo_keys,
    stem_of,
    without_mask_mark,
)

_log = logging.getLogger(__name__)

_Index = Mapping[str, set[Path]]
"""Files by their keys."""


def find_photos(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """Files of the photos ``names`` in ``folder``; a name without a file is left out.

    Raises:
        SceneError: no such folder, or several files for a name.
    """
    if not folder.is_dir():
        raise no_image_folder(folder)
    exact = {name: folder / name for name in names if os.path.isfile(folder / name)}
    found = {name: path for name, path in exact.items() if not has_foreign_suffix(name)}
    missing = [name for name in names if name not in found]
    if not missing:
        return found
    similar, by_end = _paired(folder, missing, _photo_index(folder), photo_keys, found, "photo")
    found |= {name: path for name, path in exact.items() if name not in similar}
    by_end = {name: path for name, path in by_end.items() if name not in exact}
    for files, how in (
        (similar, "differ from COLMAP's names in case or suffix"),
        (by_end, "are found by the end of COLMAP's path"),
    ):
        if files:
            name, path = next(iter(files.items()))
            message = "%s: %d of %d photos %s, first %r for %r"
            shown = _relative(path, folder)
            _log.warning(message, folder, len(files), len(names), how, shown, name)
    return {**found, **similar, **by_end}


def check_missing(
    folder: Path, names: Sequence[str], found: dict[str, Path], *, skip: bool
) -> None:
    """Refuses missing photos, or with ``skip`` says how many; more than half are always refused."""
    missing = [name for name in names if name not in found]
    if not missing:
        return
    what = f"{folder} lacks {len(missing)} of the {len(names)} photos that COLMAP registered"
    if 2 * len(missing) > len(names):
        others = set(photo_files(folder)) - set(found.values())
        there = f"; another is {_relative(min(others), folder)!r}" if others else ""
        raise SceneError(
            f"{what}, first {missing[0]!r}{there}",
            expected="expected at least half of them, also with --data.skip-missing",
            action="check that these photos are those of this model",
        )
    if not skip:
        raise SceneError(
            f"{what}, first {missing[0]!r}",
            expected="expected every one under COLMAP's name",
            action="add them, choose another folder with --downscale, or train without them:"
            " --data.skip-missing",
        )
    _log.log(DOUBT, "%s, first %r; going on without them", what, missing[0])


def find_masks(
    folders: Sequence[Path], photo_folders: Sequence[Path], photos: Mapping[str, Path]
) -> dict[str, Path]:
    """Returns mask files of the photos in the first of ``folders`` that exists.

    A mask has the photo's name, with the same or another suffix, with ``.png`` added to it (as
    COLMAP has it), or with ``.mask`` or ``_mask`` before its own suffix; or so the name of the file
    that the photo was found in. Without such a folder, files with such a mark among the photos are
    masks. Photos without one are left out, with a warning.

    Args:
        folders: where masks may be.
        photo_folders: where there may be masks among photos; the first is that of ``photos``.
        photos: the files of the photos by COLMAP's names; at least one.

    Raises:
        SceneError: several masks for a photo, or a folder in which no file is named after one.
    """
    own_names = {name: _relative(path, photo_folders[0]) for name, path in photos.items()}
    keys = {name: mask_keys(name) | mask_keys(own) for name, own in own_names.items()}
    folder = next((folder for folder in folders if folder.is_dir()), None)
    if folder is not None:
        index = _mask_index(folder, keys.values())
    else:
        marked = ((one, _mask_index(one, keys.values(), only_marked=True)) for one in photo_folders)
        folder, index = next(((one, index) for one, index in marked if index), (None, {}))
        if folder is None:
            return {}
    masks = dict(ChainMap(*_paired(folder, list(photos), index, keys.__getitem__, {}, "mask of")))
    first = next(iter(photos))
    if not masks:
        raise SceneError(
            f"{folder} has {len(set().union(*index.values()))} image files, none of them named"
            " after a photo",
            expected=f"expected e.g. {stem_of(first)}.png or {first}.png",
            action="rename them, or give --data.masks none",
        )
    if len(masks) < len(photos):
        first = next(name for name in photos if name not in masks)
        message = "%s: %d of %d photos have no mask and count in full, first %r"
        _log.log(DOUBT, message, folder, len(photos) - len(masks), len(photos), first)
    return masks


def _paired(
    folder: Path,
    names: Sequence[str],
    index: _Index,
    keys_of: Callable[[str], set[str]],
    found: Mapping[str, Path],
    what: str,
) -> tuple[dict[str, Path], dict[str, Path]]:
    """Returns the only file for each name by a path that means the same, and by the end of one.

    Args:
        folder: where the files are.
        names: what files are looked for.
        index: the files.
        keys_of: gives the keys under which the file of a name may be in the index.
        found: files that have a name already.
        what: what they are, in messages.

    Raises:
        SceneError: several files for a name, or several names for a file.
    """
    whole = _by_rule(folder, names, index, keys_of, found, what)
    found = {**found, **whole}

    def ends(name: str) -> set[str]:
        return {end for key in keys_of(name) for end in ends_of(key)}

    others = set().union(*(keys_of(name) | ends(name) for name in found))  # may mean these as well
    left = [name for name in names if name not in whole]
    return whole, _by_rule(folder, left, index, lambda name: ends(name) - others, found, what)


def _by_rule(
    folder: Path,
    names: Sequence[str],
    index: _Index,
    keys_of: Callable[[str], Iterable[str]],
    found: Mapping[str, Path],
    what: str,
) -> dict[str, Path]:
    taken = set(found.values())
    files: dict[str, Path] = {}
    for name in names:
        candidates = set().union(*(index.get(key, ()) for key in keys_of(name))) - taken
        if len(candidates) > 1:
            raise _several(folder, name, candidates, what)
        if candidates:
            files[name] = candidates.pop()
    _check_owners(files)
    return files


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


def _photo_index(folder: Path) -> _Index:
    """Returns photo files below ``folder`` by their paths without suffix."""
    index: defaultdict[str, set[Path]] = defaultdict(set)
    for path in photo_files(folder):
        index[key_of(stem_of(_relative(path, folder)))].add(path)
    return index


def _mask_index(
    folder: Path, keys_of_photos: Iterable[set[str]], *, only_marked: bool = False
) -> _Index:
    """Returns mask files below ``folder`` by their paths without suffix and mark.

    What looks like a mark may also belong to the name of a photo.
    """
    known = set().union(*keys_of_photos)
    index: defaultdict[str, set[Path]] = defaultdict(set)
    for path in photo_files(folder):
        key = key_of(stem_of(_relative(path, folder)))
        bare = key if key in known else without_mask_mark(key)
        if bare != key or not only_marked:
            index[bare].add(path)
    return index


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _several(folder: Path, name: str, candidates: set[Path], what: str) -> SceneError:
    files = ", ".join(sorted(_relative(path, folder) for path in candidates))
    return SceneError(
        f"{folder} has {len(candidates)} files that may be the {what} {name!r}: {files}",
        expected="expected one",
        action="remove or rename the others",
    )
