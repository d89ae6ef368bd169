"""Scene names that the command line knows, and where they lie. Standard library only."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gs_densify.errors import SceneError
from gs_densify.home import expanded
from gs_densify.near_names import did_you_mean
from gs_densify.scene.cache import default_cache
from gs_densify.scene.layout import data_set_of, is_part_with_photos
from gs_densify.scene.unposed import what_it_is

MIPNERF360: dict[str, int] = {
    "bicycle": 4,
    "bonsai": 2,
    "counter": 2,
    "flowers": 4,
    "garden": 4,
    "kitchen": 2,
    "room": 2,
    "stump": 4,
    "treehill": 4,
}
"""Mip-NeRF 360 scenes (Barron et al. 2022) and the image folder that papers evaluate on:
``images_4`` outdoors, ``images_2`` indoors."""

TINY = "tiny"
"""The synthetic scene that is generated on first use."""

PRESETS: dict[str, int] = {**MIPNERF360, TINY: 1}
"""Every preset and its downscale factor."""


@dataclass(frozen=True)
class SceneSource:
    """Where a scene is and at which scale to read it: the arguments of ``load_scene``."""

    name: str
    root: Path
    downscale: int
    image_source: Literal["auto", "found"] = "auto"
    """`load.PhotoOptions.image_source` of a run that asks for nothing else: the factor of a preset
    names the photos that papers evaluate on, which are not replaced unasked."""
    model: Path | None = None
    """Folder of the model, or of models, that was asked for; None: where the data set has it."""


def resolve_scene(
    scene: str,
    *,
    data_root: Path | None = None,
    downscale: int | None = None,
    cache: Path | None = None,
) -> SceneSource:
    """Finds a scene by preset name, ``tiny``, or path.

    Args:
        scene: a Mip-NeRF 360 name, found at ``data_root/NAME``; ``tiny``; or the path of a COLMAP
            data set, absolute, relative to the working folder, or relative to ``data_root``. The
            path may also end at one of its models, such as ``sparse/1``, which it then chooses.
        data_root: folder of the preset scenes; else the environment variable ``GS_DATA``.
        downscale: image folder to read; None takes the preset's, or 1 for a path.
        cache: where ``tiny`` is kept; see ``cache.default_cache``.

    Raises:
        SceneError: nothing there; lists the presets and the paths looked for.
    """
    factor = PRESETS.get(scene, 1) if downscale is None else downscale
    is_preset_factor = downscale is None and scene in PRESETS
    image_source: Literal["auto", "found"] = "found" if is_preset_factor else "auto"
    if scene == TINY:
        from gs_densify.scene.formats.tiny.make import ensure_tiny  # numpy: not for --help

        return SceneSource(TINY, ensure_tiny(cache or default_cache()), factor, image_source)
    if not scene:
        raise SceneError(
            "the scene's name is empty",
            expected=f"expected {_known()}",
            action="name one of them",
        )
    candidates = _candidates(scene, find_data_root(data_root))
    for candidate in candidates:
        if candidate.is_dir():
            _refuse_photos_alone(scene, candidate)
            root, model = data_set_of(candidate)
            return SceneSource(root.name or scene, root, factor, image_source, model)
        if (known := what_it_is(candidate)) is not None:
            raise known
    raise _not_found(scene, candidates, find_data_root(data_root))


def _refuse_photos_alone(scene: str, folder: Path) -> None:
    """Refuses the folder of a data set's photos, which stands for nothing."""
    if is_part_with_photos(folder):
        above = os.path.dirname(scene.rstrip("/")) or ".."
        raise SceneError(
            f"{scene} holds the photos of a scene",
            expected="expected the scene's folder, which is the one above",
            action=f"give {above}",
        )


def _not_found(scene: str, candidates: Sequence[Path], data_root: Path | None) -> SceneError:
    """Returns what to say of a scene that is in none of the places looked at."""
    looked = ", ".join(map(str, candidates)) if candidates else "no folder: no data root is set"
    if scene in MIPNERF360:
        folder = data_root or "FOLDER"
        return SceneError(
            f"scene {scene!r} is not here (looked for {looked})",
            action=f"gs-scene download {scene} --data-root {folder} fetches it; if you have it, set"
            " --data-root or GS_DATA to the folder that holds it",
        )
    names = [*PRESETS, *_siblings(scene, candidates)]
    return SceneError(
        f"no preset or folder {scene!r} (looked for {looked})",
        expected=did_you_mean(scene.rstrip("/"), names) or f"expected {_known()}",
    )


def _siblings(scene: str, candidates: Sequence[Path]) -> Iterator[str]:
    """Yields folders beside those looked for that may be scenes, named as the scene is."""
    for folder in (path.parent for path in candidates):
        if os.access(folder, os.R_OK) and folder.is_dir():
            for entry in os.scandir(folder):
                if entry.is_dir() and not is_part_with_photos(Path(entry.path)):
                    yield str(Path(scene).parent / entry.name)


def whole_name(scene: str, data_root: Path | None = None) -> str:
    """Returns a scene's name that means the same from every folder: a preset's or a whole path.

    Where nothing is there, it stays as it is.
    """
    if not scene or scene in PRESETS:
        return scene
    there = (path for path in _candidates(scene, find_data_root(data_root)) if path.is_dir())
    return str(next((path.absolute() for path in there), scene))


def _known() -> str:
    return f"one of {', '.join(PRESETS)}, or the folder of a COLMAP data set"


def find_data_root(given: Path | None) -> Path | None:
    """Returns the folder of the preset scenes: the one given, or the environment variable
    ``GS_DATA``.
    """
    from_environment = os.environ.get("GS_DATA")
    if given is not None:
        return expanded(given)
    return expanded(from_environment) if from_environment else None


def _candidates(scene: str, data_root: Path | None) -> list[Path]:
    """Returns folders to look at, in order. A preset's name means the preset, never a local
    folder.
    """
    path = expanded(scene)
    in_data_root = [data_root / path] if data_root else []
    return in_data_root if scene in PRESETS else [path, *in_data_root]
