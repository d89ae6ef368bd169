"""Digests of a scene: what a run has seen, so that other data under the same names is noticed."""

import hashlib
from collections.abc import Iterable

import numpy as np

from gs_densify.scene.formats.base import SceneModel
from gs_densify.scene.photos.decode import Photo
from gs_densify.scene.scene import View


def model_digest(model: SceneModel) -> str:
    """Returns a digest of cameras, poses, points and colours, in the world of the model's files."""
    found = _of_images(model)
    found.update(_bytes(model.points))
    found.update(_bytes(model.colors))
    return found.hexdigest()[:16]


def cameras_digest(model: SceneModel) -> str:
    """Returns a digest of the photos' names, cameras and poses: the same for other points."""
    return _of_images(model).hexdigest()[:16]


def _of_images(model: SceneModel) -> "hashlib._Hash":
    found = hashlib.sha256()
    for image in model.images:
        found.update(repr((image.name, image.width, image.height)).encode())
        found.update(_bytes(image.cam_from_world))
        found.update(_bytes(image.K))
        if image.lens is not None:
            found.update(image.lens.model.encode())
            found.update(_bytes(np.array(image.lens.params)))
    return found


def photo_digest(view: View, photo: Photo) -> bytes:
    """Returns a digest of a view's name, size, pixels and mask."""
    found = hashlib.sha256(repr((view.name, photo.pixels.shape, photo.mask is None)).encode())
    found.update(_bytes(photo.pixels))
    if photo.mask is not None:
        found.update(_bytes(photo.mask))
    return found.digest()


def joint_digest(digests: Iterable[bytes]) -> str:
    """Returns one digest of those of photos, in their order."""
    return hashlib.sha256(b"".join(digests)).hexdigest()[:16]


def _bytes(array: np.ndarray) -> memoryview:
    """Returns what lies in an array, row by row; hashlib reads it without holding Python's lock."""
    return np.ascontiguousarray(array).data
