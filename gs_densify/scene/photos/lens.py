"""Undo lenses: from a photo taken through one to the photo of a pinhole camera."""

from functools import lru_cache

import numpy as np

from gs_densify.errors import SceneError
from gs_densify.scene.colmap_library import pycolmap
from gs_densify.scene.scene import Lens, Size

_TWO_FOCAL_LENGTHS = {
    "SIMPLE_RADIAL": "OPENCV",
    "RADIAL": "OPENCV",
    "SIMPLE_RADIAL_FISHEYE": "OPENCV_FISHEYE",
    "RADIAL_FISHEYE": "OPENCV_FISHEYE",
    "SIMPLE_FISHEYE": "FISHEYE",
    "SIMPLE_DIVISION": "DIVISION",
}
"""Models with one focal length, and the same one with two: further coefficients are zero."""

_LEAST_VALID = 0.2
"""A lens whose pinhole image shows less than this share of it is taken for damaged."""


def lens_of(camera: "pycolmap.Camera") -> Lens | None:
    """Returns the lens of a camera; None for a pinhole, also one with all coefficients zero."""
    lens = Lens(
        camera.model.name, camera.width, camera.height, tuple(float(p) for p in camera.params)
    )
    return None if _is_pinhole(camera) else lens


def project(lens: Lens | None, K: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Returns the pixels [P, 2] of the photo as taken in which positions [P, 3] appear.

    They are in the camera's axes; NaN for those behind it, and where a lens does not show them.

    Args:
        lens: what bends the rays; None for a pinhole.
        K: [3, 3] of the pinhole.
        positions: in the camera's axes.
    """
    pixels = np.full((len(positions), 2), np.nan)
    front = positions[:, 2] > 0
    if lens is None:
        with np.errstate(invalid="ignore"):
            rays = positions[front, :2] / positions[front, 2:]
        pixels[front] = rays * K[[0, 1], [0, 1]] + K[:2, 2]
    else:
        camera = pycolmap.Camera(
            model=lens.model, width=lens.width, height=lens.height, params=lens.params
        )
        pixels[front] = camera.img_from_cam(positions[front])
    return pixels


@lru_cache(maxsize=4096)
def undistortion(lens: Lens, size: Size) -> "Undistortion":
    """Returns the undistortion of photos of ``size`` (width, height) taken through ``lens``.

    Raises:
        SceneError: a lens that no pinhole image of reasonable size can show.
    """
    return Undistortion(lens, size)


class Undistortion:
    """Photos of one size and lens, as a pinhole camera would have taken them.

    Size, focal length and principal point are those that ``colmap image_undistorter`` chooses by
    default: the focal lengths stay, and the image is cropped until no pixel lacks a source. Where
    a limit (0.2 to 2 times the size) or the shape of the lens leaves some, ``valid`` excludes them.
    """

    def __init__(self, lens: Lens, size: Size) -> None:
        self._options = pycolmap.UndistortCameraOptions()
        # Focal lengths stay, so nothing shrinks: a filter for that would blur, and ring at masks.
        self._options.warp_options.direct_warp_min_scale = 0.0
        self._camera = _resized(lens, size)
        pinhole = pycolmap.undistort_camera(self._options, self._camera)
        self.size: Size = (pinhole.width, pinhole.height)
        self.K: np.ndarray = np.array(pinhole.calibration_matrix(), dtype=np.float64)
        """[3, 3] float64, pixels."""
        seen = self.is_valid(_sample(*self.size))
        if not seen.mean() >= _LEAST_VALID:
            raise SceneError(
                f"the {lens.model} camera of {lens.width}x{lens.height} with the parameters"
                f" {list(lens.params)} shows {seen.mean():.0%} of what its pinhole image would",
                expected="expected the parameters of a real lens",
                action="run colmap mapper again",
            )
        self.has_blank = not bool(seen.all())
        """Whether ``valid`` leaves out pixels."""

    @property
    def valid(self) -> np.ndarray:
        """Returns [H, W] bool: pixels that the photo shows."""
        return _valid_pixels(self)

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Returns the photo [H, W, 3] or [H, W] uint8, undistorted with bilinear interpolation."""
        source = pycolmap.Bitmap.from_array(pixels)
        result, _ = pycolmap.undistort_image(self._options, source, self._camera)
        return np.asarray(result.to_array()).reshape(*self.size[::-1], *pixels.shape[2:])

    def apply_mask(self, counts: np.ndarray) -> np.ndarray:
        """Returns the mask [H, W] bool, undistorted: a pixel counts only if all of its source
        does.
        """
        # 254.5 and more round to 255: a masked neighbour of less than 0.2 % weight is no source.
        return (self.apply(np.where(counts, 255, 0).astype(np.uint8)) == 255) & self.valid

    def is_valid(self, xy: np.ndarray) -> np.ndarray:
        """Returns whether pinhole pixels [P, 2] have a source: within the photo, and only one."""
        rays = (xy - self.K[:2, 2]) / [self.K[0, 0], self.K[1, 1]]
        distorted = self._camera.img_from_cam(np.column_stack([rays, np.ones(len(rays))]))
        limit = np.array([self._camera.width, self._camera.height]) - 0.5
        with np.errstate(invalid="ignore"):
            inside = ((distorted >= 0.5) & (distorted < limit)).all(axis=1)
        # A polynomial may fold back: the ray of the source must be the one that led there.
        back = np.full_like(rays, np.inf)
        back[inside] = np.asarray(self._camera.cam_from_img(distorted[inside])).reshape(-1, 2)
        error = np.abs(back - rays).max(axis=1)
        return np.asarray(inside & (error < 1e-3 * (1 + np.abs(rays).max(axis=1))))


@lru_cache(maxsize=8)  # photos in order share cameras; a camera for each photo is not kept
def _valid_pixels(undone: Undistortion) -> np.ndarray:
    width, height = undone.size
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    return undone.is_valid(_pairs(x, y)).reshape(height, width)


def _is_pinhole(camera: "pycolmap.Camera") -> bool:
    """Returns whether rays through the photo land where a pinhole has them, to 0.001 pixels."""
    K = np.array(camera.calibration_matrix())
    x, y = np.meshgrid(np.linspace(0, camera.width, 9), np.linspace(0, camera.height, 9))
    xy = np.stack([x.ravel(), y.ravel()], axis=1)
    rays = np.column_stack([(xy - K[:2, 2]) / [K[0, 0], K[1, 1]], np.ones(len(xy))])
    return bool((np.abs(camera.img_from_cam(rays) - xy) < 1e-3).all())


def _resized(lens: Lens, size: Size) -> "pycolmap.Camera":
    """Returns the camera of the same photo at another size; axes are scaled on their own."""
    model, params = lens.model, list(lens.params)
    if model in _TWO_FOCAL_LENGTHS:
        model, params = _TWO_FOCAL_LENGTHS[model], [params[0], *params]
        blank = pycolmap.Camera.create_from_model_name(0, model, 1.0, 2, 2)
        params += [0.0] * (len(blank.params) - len(params))
    camera = pycolmap.Camera(model=model, width=lens.width, height=lens.height, params=params)
    camera.rescale(*size)
    return camera


def _sample(width: int, height: int) -> np.ndarray:
    """Returns pixel centres [P, 2] along the whole border and on a grid within."""
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    lines = [_pairs(x, y[[0, -1]]), _pairs(x[[0, -1]], y)]
    return np.concatenate([*lines, _pairs(x[:: width // 32 or 1], y[:: height // 32 or 1])])


def _pairs(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
