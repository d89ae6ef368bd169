"""What a COLMAP model says about a capture, for every camera model that COLMAP has."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pycolmap

from gs_densify.errors import SceneError
from gs_densify.scene.formats.colmap.read import read_checked
from gs_densify.scene.normalize import LARGEST_COORDINATE
from gs_densify.scene.photos.lens import lens_of
from gs_densify.scene.scene import Size

_PINHOLES = ("PINHOLE", "SIMPLE_PINHOLE")
_SAMPLED_OBSERVATIONS = 500
"""Observations of one image of which the reprojection error is computed, evenly chosen."""


@dataclass(frozen=True)
class ModelCamera:
    """A camera of the model."""

    model: str
    size: Size
    num_images: int
    focal: float
    """Pixels, mean of both axes."""
    corner_shift: float | None
    """Pixels by which the lens moves the corner that it moves most; None where a corner has no
    place in an undistorted photo."""
    is_pinhole: bool
    """Whether photos of it are trained on as they are, also where all coefficients are zero."""


@dataclass(frozen=True, eq=False)
class ModelImage:
    """A registered image; its name is the photo's path below the image folder."""

    name: str
    size: Size
    cam_from_world: np.ndarray
    """[4, 4] float64, rigid."""
    half_angles: tuple[float, float]
    """Radians from the viewing direction to the right and lower border, of a pinhole."""
    num_points: int
    """Points that it observes; 0 where the model keeps no observations."""
    reprojection_error: float | None
    """Mean over its observations in pixels."""


@dataclass(frozen=True, eq=False)
class CaptureModel:
    """A COLMAP model as a report needs it."""

    cameras: tuple[ModelCamera, ...]
    images: tuple[ModelImage, ...]
    """Sorted by name; may be empty."""
    points: np.ndarray
    """[P, 3] float64 sorted by COLMAP's id; may hold values that are not finite."""
    colors: np.ndarray
    """[P, 3] uint8."""
    errors: np.ndarray
    """[P] float64: mean reprojection error of each point in pixels; NaN where not known."""
    track_lengths: np.ndarray
    """[P] int: images that observe each point; 0 where the model keeps no observations."""


def read_capture_model(folder: Path) -> CaptureModel:
    """Reads a model folder.

    Raises:
        SceneError: files that are damaged or contradictory, a pose that is not finite.
    """
    reconstruction, names = read_checked(folder)
    registered = sorted(names, key=lambda i: names[i])
    points = [reconstruction.points3D[i] for i in sorted(reconstruction.points3D)]
    return CaptureModel(
        cameras=_cameras(reconstruction, registered),
        images=tuple(_image(folder, reconstruction, i, names[i]) for i in registered),
        points=np.array([p.xyz for p in points], dtype=np.float64).reshape(-1, 3),
        colors=np.array([p.color for p in points], dtype=np.uint8).reshape(-1, 3),
        # COLMAP writes -1 for an error that it has not computed.
        errors=np.array([p.error if p.error >= 0 else np.nan for p in points], dtype=np.float64),
        track_lengths=np.array([p.track.length() for p in points], dtype=np.int64),
    )


def _cameras(
    reconstruction: "pycolmap.Reconstruction", registered: list[int]
) -> tuple[ModelCamera, ...]:
    used = [reconstruction.images[i].camera_id for i in registered]
    cameras = {i: reconstruction.cameras[i] for i in sorted(set(used))}
    return tuple(
        ModelCamera(
            model=camera.model.name,
            size=(camera.width, camera.height),
            num_images=used.count(i),
            focal=float(camera.mean_focal_length()),
            corner_shift=_corner_shift(camera),
            is_pinhole=camera.is_perspective() and lens_of(camera) is None,
        )
        for i, camera in cameras.items()
    )


def _corner_shift(camera: "pycolmap.Camera") -> float | None:
    """Returns the distance of the corners to where a pinhole of the same focal lengths has them."""
    if camera.model.name in _PINHOLES:
        return 0.0
    width, height = camera.width, camera.height
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], dtype=np.float64)
    try:
        rays = np.asarray(camera.cam_from_img(corners), dtype=np.float64)
    except Exception:  # pycolmap raises whatever C++ threw, for cameras that see all around
        return None
    if rays.shape != (4, 2) or not np.isfinite(rays).all():
        return None
    focal = np.array([camera.focal_length_x, camera.focal_length_y])
    center = np.array([camera.principal_point_x, camera.principal_point_y])
    return float(np.linalg.norm(rays * focal + center - corners, axis=1).max())


def _image(
    folder: Path, reconstruction: "pycolmap.Reconstruction", image_id: int, name: str
) -> ModelImage:
    image = reconstruction.images[image_id]
    camera = reconstruction.cameras[image.camera_id]
    pose = np.vstack([image.cam_from_world().matrix(), [0.0, 0.0, 0.0, 1.0]])
    if not (np.abs(pose) < LARGEST_COORDINATE).all():
        raise SceneError(
            f"{folder} holds a pose of image {name!r} that is not finite",
            expected="expected a rotation and finite numbers",
            action="run colmap mapper again, or remove the image from the model",
        )
    focal = max(float(camera.mean_focal_length()), 1e-9)
    return ModelImage(
        name=name,
        size=(camera.width, camera.height),
        cam_from_world=pose,
        half_angles=(
            float(np.arctan(camera.width / 2 / focal)),
            float(np.arctan(camera.height / 2 / focal)),
        ),
        num_points=int(image.num_points3D),
        reprojection_error=_reprojection_error(reconstruction, image),
    )


def _reprojection_error(
    reconstruction: "pycolmap.Reconstruction", image: "pycolmap.Image"
) -> float | None:
    observed = image.get_observation_points2D()
    step = max(1, len(observed) // _SAMPLED_OBSERVATIONS)
    distances = []
    for point2D in observed[::step]:
        projected = image.project_point(reconstruction.points3D[point2D.point3D_id].xyz)
        if projected is not None:
            distances.append(float(np.linalg.norm(projected - point2D.xy)))
    return float(np.mean(distances)) if distances else None
