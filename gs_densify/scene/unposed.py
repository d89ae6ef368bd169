"""What people have before it is a scene: photos, a video, data sets of other kinds.

Each is recognised, and the command that makes a scene of it is named.
"""

import json
import os
import shlex
from pathlib import Path
from typing import Any

from gs_densify.errors import SceneError
from gs_densify.scene.layout import Layout
from gs_densify.scene.photos.names import has_photos, is_foreign, is_video, photo_files

STAGES = Path(".reconstruct", "stages.json")
"""In the folder of a scene: how far its reconstruction is. The folder is hidden, so that no model
in it is taken for the scene's."""

_TRANSFORMS = {"transforms_train.json": "Blender", "transforms.json": "Nerfstudio"}

ANY_PHOTOS = "gs-scene reconstruct PHOTOS --out SCENE"


def what_it_is(path: Path) -> SceneError | None:
    """Returns what to say of a file or folder that has no model; None where nothing is known."""
    if is_video(path):
        return _to_reconstruct(f"{path} is a video", path)
    if (path / STAGES).is_file():
        return _unfinished(path)
    for file, kind in _TRANSFORMS.items():
        if (path / file).is_file():
            found = f"{path} is a {kind} data set ({file}), whose poses are not read"
            return _to_reconstruct(found, _photos_named_in(path / file) or path, near=path)
    if _has_photos(path):
        return _to_reconstruct(f"{path} has photos and no COLMAP model", path)
    videos = sorted(one for one in path.iterdir() if is_video(one)) if path.is_dir() else []
    if videos:
        return _to_reconstruct(f"{path} has a video and no COLMAP model", videos[0], near=path)
    return None


def _to_reconstruct(found: str, source: Path, near: Path | None = None) -> SceneError:
    """Returns what names the command, whose scene lies beside what was given."""
    beside = near or source
    if beside.name in ("", ".."):
        beside = Path(os.path.abspath(beside))
    out = beside.with_name(f"{beside.stem if beside.is_file() else beside.name}-scene")
    return SceneError(
        found,
        action="find poses and points with gs-scene reconstruct"
        f" {shlex.quote(str(source))} --out {shlex.quote(str(out))}",
    )


def _unfinished(scene: Path) -> SceneError:
    source = _loaded(scene / STAGES).get("source", "PHOTOS")
    return SceneError(
        f"{scene} is a reconstruction that is not complete: it has no COLMAP model yet",
        action=f"go on with gs-scene reconstruct {shlex.quote(str(source))}"
        f" --out {shlex.quote(str(scene))}",
    )


def _has_photos(folder: Path) -> bool:
    """Returns whether photos are in a folder, in its `images`, or in the folders right in it."""
    if not folder.is_dir():
        return False
    images = Layout(folder).images(1)
    below = (one for one in folder.iterdir() if one.is_dir() and not is_foreign(one.name))
    return any(photo_files(images)) or any(has_photos(one) for one in below)


def _photos_named_in(transforms: Path) -> Path | None:
    """Returns the folder of the first photo that a file of poses names, where photos are there."""
    frames = _loaded(transforms).get("frames")
    if not isinstance(frames, list) or not frames or not isinstance(frames[0], dict):
        return None
    folder = (transforms.parent / str(frames[0].get("file_path", ""))).parent
    return folder if has_photos(folder) else None


def _loaded(path: Path) -> dict[str, Any]:
    """Returns what a JSON file holds; nothing where that is no mapping, or damaged."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
