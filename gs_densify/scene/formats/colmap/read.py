"""COLMAP models, binary or text, read through pycolmap and handed on as plain arrays."""

import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NoReturn

import numpy as np
import pycolmap
from scipy.spatial.transform import Rotation

from gs_densify.errors import SceneError
from gs_densify.scene.formats.base import PosedImage, SceneModel
from gs_densify.scene.formats.colmap.binary import check_binary_model
from gs_densify.scene.formats.colmap.find import extension_of, find_model, has_model
from gs_densify.scene.formats.colmap.text import check_text_model
from gs_densify.scene.normalize import LARGEST_COORDINATE
from gs_densify.scene.photos.lens import lens_of
from gs_densify.scene.photos.names import inner_path

if threading.current_thread() is threading.main_thread():
    # Importing pycolmap sets a handler that prints a stack trace where a job that is stopped by its
    # scheduler should just end: put back the one that Python knows of.
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))


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
        SceneError: damaged or contradictory files, no registered image, no point, a repeated
            name, a camera model without a pinhole image, a pose or intrinsics that are
            not finite.
    """
    reconstruction, names = read_checked(folder)
    registered = sorted(names, key=lambda i: names[i])
    if not registered or not reconstruction.num_points3D():
        raise SceneError(
            f"{folder} holds {len(registered)} registered images and"
            f" {reconstruction.num_points3D()} points",
            expected="expected some of each",
            action="run colmap mapper again, or train on another model of this data set",
        )
    _check_names(folder, [names[i] for i in registered])
    _check_cameras(folder, reconstruction, registered)
    images = tuple(_image(folder, reconstruction, i, names[i]) for i in registered)
    points = list(reconstruction.points3D.values())
    by_id = np.argsort(np.fromiter(reconstruction.points3D, np.uint64, len(points)))
    return SceneModel(
        folder,
        images,
        np.concatenate([p.xyz for p in points]).reshape(-1, 3)[by_id],
        np.concatenate([p.color for p in points]).reshape(-1, 3)[by_id],
    )


@contextmanager
def quiet_pycolmap() -> Iterator[None]:
    """Keeps COLMAP's log lines off stderr; what it raises says the same."""
    level = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = int(pycolmap.logging.FATAL) + 1
    try:
        yield
    finally:
        pycolmap.logging.minloglevel = level


def read_checked(folder: Path) -> tuple["pycolmap.Reconstruction", dict[int, str]]:
    """pycolmap's reconstruction of checked files, and the names of registered images by id.

    Raises:
        SceneError: files that cannot be read, are damaged, or contradict each other.
    """
    try:
        names = _checked_names(folder)
    except OSError as error:
        raise SceneError(
            f"{error.filename} cannot be read ({error.strerror})",
            expected="expected a readable COLMAP file",
            action="check its permissions and the disk it is on",
        ) from None
    try:
        with quiet_pycolmap():
            reconstruction = pycolmap.Reconstruction(folder)
            registered = list(reconstruction.reg_image_ids())
    except Exception as error:  # pycolmap raises whatever C++ threw
        reason = " ".join(str(error).split())
        raise SceneError(
            f"{folder}: pycolmap cannot read this model ({reason})",
            expected="expected a consistent COLMAP model",
            action="copy the model again or export it anew with colmap model_converter",
        ) from None
    return reconstruction, {i: names[i] for i in registered}


def _checked_names(folder: Path) -> dict[int, str]:
    """Returns the photos' paths by id, once the files have passed a check that does not trust
    them.
    """
    names = _names_in_files(folder)
    inner = {image_id: inner_path(name) for image_id, name in names.items()}
    nowhere = [names[image_id] for image_id, path in inner.items() if not path]
    if nowhere:
        raise SceneError(
            f"{folder} names the photo {nowhere[0]!r}",
            expected="expected a path",
            action="rename the images of the model",
        )
    return inner


def _names_in_files(folder: Path) -> dict[int, str]:
    models = pycolmap.CameraModelId.__members__
    num_params = {name: _num_params(name) for name in models if name != "INVALID"}
    if extension_of(folder) == ".bin":
        by_id = {int(models[name].value): n for name, n in num_params.items()}
        return check_binary_model(folder, by_id)
    return check_text_model(folder, num_params)


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


def _check_cameras(
    folder: Path, reconstruction: "pycolmap.Reconstruction", registered: list[int]
) -> None:
    used = Counter(reconstruction.images[i].camera_id for i in registered)
    num_cameras: Counter[str] = Counter()
    num_images: Counter[str] = Counter()
    for camera_id, count in used.items():
        camera = reconstruction.cameras[camera_id]
        if camera.is_perspective():
            continue
        num_cameras[camera.model.name] += 1
        num_images[camera.model.name] += count
    found = [
        f"{model} ({num_cameras[model]} camera{'s' * (num_cameras[model] != 1)},"
        f" {num_images[model]} image{'s' * (num_images[model] != 1)})"
        for model in sorted(num_cameras)
    ]
    if found:
        raise SceneError(
            f"{folder} uses the camera model {', '.join(found)}, which has no pinhole image",
            expected="expected a perspective model, such as PINHOLE, OPENCV or OPENCV_FISHEYE",
            action="cut the photos into perspective ones and run COLMAP on those",
        )


def _image(
    folder: Path, reconstruction: "pycolmap.Reconstruction", image_id: int, name: str
) -> PosedImage:
    image = reconstruction.images[image_id]
    camera = reconstruction.cameras[image.camera_id]
    rigid = image.cam_from_world()
    quaternion, translation = np.array(rigid.rotation.quat), np.array(rigid.translation)
    values = np.concatenate([quaternion, translation])
    if not ((np.abs(values) < LARGEST_COORDINATE).all() and np.linalg.norm(quaternion) > 1e-6):
        _refuse_number(
            folder, f"the pose {values.tolist()} of image {name!r}", "a rotation and finite numbers"
        )
    pose = np.eye(4)
    # COLMAP uses quaternions as they stand in the file; text files round theirs.
    pose[:3, :3] = Rotation.from_quat(quaternion).as_matrix()
    pose[:3, 3] = translation
    params = np.array(camera.params, dtype=np.float64)
    K = np.array(camera.calibration_matrix(), dtype=np.float64)
    if not ((np.abs(params) < LARGEST_COORDINATE).all() and K[0, 0] > 0 and K[1, 1] > 0):
        what = f"the intrinsics {params.tolist()} of camera {image.camera_id}"
        _refuse_number(folder, what, "finite numbers and positive focal lengths")
    lens = lens_of(camera)
    return PosedImage(name, image.camera_id, pose, K, camera.width, camera.height, lens)


def _refuse_number(folder: Path, what: str, expected: str) -> NoReturn:
    raise SceneError(
        f"{folder} holds {what}",
        expected=f"expected {expected}",
        action="run colmap mapper again, or remove what is damaged from the model",
    )
