"""What a COLMAP model says about a capture, for every camera model that COLMAP has."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gs_densify.scene.colmap_library import pycolmap
from gs_densify.scene.formats.colmap.poses import image_poses
from gs_densify.scene.formats.colmap.read import observations_of, pycolmap_camera, read_files
from gs_densify.scene.formats.colmap.records import ColmapFiles
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
    files = read_files(folder)
    used = sorted({image.camera_id for image in files.images.values()})
    cameras = {i: pycolmap_camera(files.cameras[i]) for i in used}
    poses = image_poses(files)
    registered = sorted(files.images, key=lambda i: files.images[i].name)
    errors = files.points.errors
    return CaptureModel(
        cameras=_cameras(files, cameras),
        images=tuple(
            _image(files, i, cameras[files.images[i].camera_id], poses[i]) for i in registered
        ),
        points=files.points.xyz,
        colors=files.points.rgb,
        errors=np.where(errors >= 0, errors, np.nan),  # COLMAP writes -1 for one it did not compute
        track_lengths=files.points.track_lengths,
    )


def _cameras(
    files: ColmapFiles, cameras: Mapping[int, "pycolmap.Camera"]
) -> tuple[ModelCamera, ...]:
    num_images = Counter(image.camera_id for image in files.images.values())
    return tuple(
        ModelCamera(
            model=camera.model.name,
            size=(camera.width, camera.height),
            num_images=num_images[i],
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
    files: ColmapFiles, image_id: int, camera: "pycolmap.Camera", pose: np.ndarray
) -> ModelImage:
    image = files.images[image_id]
    observed = observations_of(files, image)
    step = max(1, len(observed.points) // _SAMPLED_OBSERVATIONS)
    positions = files.points.xyz[observed.points[::step]] @ pose[:3, :3].T + pose[:3, 3]
    focal = max(float(camera.mean_focal_length()), 1e-9)
    return ModelImage(
        name=image.name,
        size=(camera.width, camera.height),
        cam_from_world=pose,
        half_angles=(
            float(np.arctan(camera.width / 2 / focal)),
            float(np.arctan(camera.height / 2 / focal)),
        ),
        num_points=len(observed.points),
        reprojection_error=_reprojection_error(camera, positions, observed.xy[::step]),
    )


def _reprojection_error(
    camera: "pycolmap.Camera", positions: np.ndarray, observed: np.ndarray
) -> float | None:
    """Returns the mean distance of pixels [n, 2] to where positions [n, 3] in the camera's axes
    appear; None where none does."""
    if not len(positions):
        return None
    distances = np.linalg.norm(camera.img_from_cam(positions) - observed, axis=1)
    shown = distances[np.isfinite(distances)]
    return float(shown.mean()) if len(shown) else None
