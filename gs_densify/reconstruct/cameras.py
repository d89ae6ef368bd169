"""Which photos share a camera, and its first guess."""

import posixpath
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from gs_densify.errors import ConfigError
from gs_densify.reconstruct.options import CameraModel, Cameras
from gs_densify.reconstruct.photos import Placed
from gs_densify.scene.colmap_library import pycolmap


def camera_groups(photos: Sequence[Placed], cameras: Cameras) -> list[list[str]]:
    """Returns the names of the photos that share intrinsics, one camera a list.

    Raises:
        ConfigError: one camera was asked for, and the photos have several sizes.
    """
    groups: dict[tuple[object, ...], list[str]] = defaultdict(list)
    for photo in photos:
        own = {
            "auto": (photo.camera,),
            "one": (),
            "folder": (posixpath.dirname(photo.name),),
            "photo": (photo.name,),
        }
        groups[(photo.width, photo.height, *own[cameras])].append(photo.name)
    if cameras == "one" and len(groups) > 1:
        sizes = sorted({f"{photo.width}x{photo.height}" for photo in photos})
        raise ConfigError(
            f"is one, and the photos have {len(sizes)} sizes: {', '.join(sizes)}",
            expected="expected photos of one size",
            action="leave the option out",
            option="cameras",
        )
    return list(groups.values())


def write_cameras(
    database: Path, images: Path, groups: Sequence[Sequence[str]], model: CameraModel
) -> None:
    """Makes a database with the cameras and their photos; EXIF gives first focal lengths."""
    unfinished = database.with_suffix(".new")
    for path in (unfinished, database):
        path.unlink(missing_ok=True)
    pycolmap.Database.open(unfinished).close()
    for names in groups:
        pycolmap.import_images(
            unfinished,
            images,
            camera_mode=pycolmap.CameraMode.SINGLE,
            image_names=list(names),
            options=pycolmap.ImageReaderOptions(camera_model=model),
        )
    unfinished.rename(database)
