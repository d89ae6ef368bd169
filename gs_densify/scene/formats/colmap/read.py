"""COLMAP models, binary or text, as posed images and points."""

from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from gs_densify.errors import SceneError
from gs_densify.scene.colmap_library import pycolmap
from gs_densify.scene.formats.base import Observations, PosedImage, SceneModel
from gs_densify.scene.formats.colmap.binary import read_binary_model
from gs_densify.scene.formats.colmap.find import extension_of, find_model, has_model
from gs_densify.scene.formats.colmap.poses import image_poses
from gs_densify.scene.formats.colmap.records import CameraRecord, ColmapFiles, ImageRecord
from gs_densify.scene.formats.colmap.text import read_text_model
from gs_densify.scene.normalize import LARGEST_COORDINATE
from gs_densify.scene.photos.lens import lens_of
from gs_densify.scene.photos.names import inner_path
from gs_densify.scene.scene import Lens


class ColmapFormat:
    """COLMAP as a format of a scene."""

    def detects(self, root: Path) -> bool:
        """Returns whether there is a model, or a folder `sparse` that should hold one."""
        return (root / "sparse").is_dir() or has_model(root)

    def read(self, root: Path) -> SceneModel:
        """Reads the model of a data set; see `find_model` and `read_model`."""
        return read_model(find_model(root))


def read_model(folder: Path) -> SceneModel:
    """Reads a model folder.

    Raises:
        SceneError: damaged or contradictory files, no registered image, a repeated
            name, a camera model without a pinhole image, a pose or intrinsics that are
            not finite.
    """
    files = read_files(folder)
    if not files.images:
        raise SceneError(
            f"{folder} holds 0 registered images",
            expected="expected some",
            action="run colmap mapper again, or train on another model of this data set",
        )
    registered = sorted(files.images, key=lambda i: files.images[i].name)
    _check_names(folder, [files.images[i].name for i in registered])
    _check_cameras(files)
    used = {image.camera_id for image in files.images.values()}
    intrinsics = {i: _intrinsics(folder, i, files.cameras[i]) for i in sorted(used)}
    poses = image_poses(files, {i: K for i, (K, _) in intrinsics.items()})
    images = []
    for i in registered:
        record = files.images[i]
        camera = files.cameras[record.camera_id]
        K, lens = intrinsics[record.camera_id]
        images.append(
            PosedImage(
                name=record.name,
                camera_id=record.camera_id,
                cam_from_world=poses[i],
                K=K,
                width=camera.width,
                height=camera.height,
                lens=lens,
                observations=observations_of(files, record),
            )
        )
    return SceneModel(folder, tuple(images), files.points.xyz, files.points.rgb)


def read_files(folder: Path) -> ColmapFiles:
    """Reads the files of a model, and checks that cameras are there for all of its images.

    Raises:
        SceneError: files that cannot be read, are damaged, or lack a camera.
    """
    models = pycolmap.CameraModelId.__members__
    num_params = {name: _num_params(name) for name in models if name != "INVALID"}
    try:
        if extension_of(folder) == ".bin":
            by_id = {int(models[name].value): (name, n) for name, n in num_params.items()}
            files = read_binary_model(folder, by_id)
        else:
            files = read_text_model(folder, num_params)
    except OSError as error:
        raise SceneError(
            f"{error.filename} cannot be read ({error.strerror})",
            expected="expected a readable COLMAP file",
            action="check its permissions and the disk it is on",
        ) from None
    for image in files.images.values():
        if image.camera_id not in files.cameras:
            raise SceneError(
                f"{files.path('images')} gives {image.name!r} the camera {image.camera_id}, which"
                f" {files.path('cameras').name} does not hold",
                expected="expected files of one model",
                action="copy the model again or export it anew with colmap model_converter",
            )
    return replace(files, images=_with_paths(files))


def _with_paths(files: ColmapFiles) -> dict[int, ImageRecord]:
    """Returns the images with the paths that their names mean below the folder of photos."""
    images = {
        image_id: replace(image, name=inner_path(image.name))
        for image_id, image in files.images.items()
    }
    nowhere = [files.images[image_id].name for image_id, one in images.items() if not one.name]
    if nowhere:
        raise SceneError(
            f"{files.folder} names the photo {nowhere[0]!r}",
            expected="expected a path",
            action="rename the images of the model",
        )
    return images


@cache
def _num_params(model: str) -> int:
    """Returns the number of parameters of a camera model."""
    return len(pycolmap.Camera.create_from_model_name(0, model, 1.0, 2, 2).params)


def _check_names(folder: Path, names: list[str]) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise SceneError(
            f"{folder} lists {repeated[0]!r} as {names.count(repeated[0])} images",
            expected="expected every name once",
            action="remove the repeated images from the model",
        )


def pycolmap_camera(record: CameraRecord) -> "pycolmap.Camera":
    """Returns a camera as pycolmap has it."""
    return pycolmap.Camera(
        model=record.model, width=record.width, height=record.height, params=record.params
    )


def observations_of(files: ColmapFiles, image: ImageRecord) -> Observations:
    """Returns those 2D points of an image whose 3D points the model has; others may be removed."""
    ids = files.points.ids
    rows = np.searchsorted(ids, image.point_ids).clip(max=max(len(ids) - 1, 0))
    known = ids[rows] == image.point_ids if len(ids) else np.zeros(len(rows), bool)
    return Observations(rows[known], image.xy[known])


def _check_cameras(files: ColmapFiles) -> None:
    num_images = Counter(image.camera_id for image in files.images.values())
    cameras: dict[str, list[int]] = {}
    for camera_id in num_images:
        record = files.cameras[camera_id]
        if not pycolmap_camera(record).is_perspective():
            cameras.setdefault(record.model, []).append(camera_id)
    found = [
        f"{model} ({_count(len(ids), 'camera')},"
        f" {_count(sum(num_images[i] for i in ids), 'image')})"
        for model, ids in sorted(cameras.items())
    ]
    if found:
        raise SceneError(
            f"{files.folder} uses the camera model {', '.join(found)}, which has no pinhole image",
            expected="expected a perspective model, such as PINHOLE, OPENCV or OPENCV_FISHEYE",
            action="cut the photos into perspective ones and run COLMAP on those",
        )


def _intrinsics(
    folder: Path, camera_id: int, record: CameraRecord
) -> tuple[np.ndarray, Lens | None]:
    """Returns the matrix [3, 3] of a camera as a pinhole, and its lens."""
    camera = pycolmap_camera(record)
    K = np.array(camera.calibration_matrix(), dtype=np.float64)
    is_finite = (np.abs(np.array(record.params)) < LARGEST_COORDINATE).all()
    if not (is_finite and K[0, 0] > 0 and K[1, 1] > 0):
        raise SceneError(
            f"{folder} holds the intrinsics {list(record.params)} of camera {camera_id}",
            expected="expected finite numbers and positive focal lengths",
            action="run colmap mapper again, or remove what is damaged from the model",
        )
    return K, lens_of(camera)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
