"""A loaded scene: posed views, coloured points, and how both were normalised.

Conventions: ``cam_from_world`` takes a world point to OpenCV camera axes (x right, y down, z
forward); pixel centres lie at half integers, as in COLMAP and gsplat, so the top left pixel's
centre is (0.5, 0.5). The world is the normalised one (see ``normalize``) unless said otherwise.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gs_densify.scene.doubt import Doubt
from gs_densify.scene.normalize import camera_centers, scene_extent
from gs_densify.scene.split import is_test_index

Size = tuple[int, int]
"""(width, height) in pixels."""


@dataclass(frozen=True)
class Lens:
    """A COLMAP camera that is not a pinhole, as the model's files have it."""

    model: str
    width: int
    height: int
    params: tuple[float, ...]


@dataclass(frozen=True)
class Recipe:
    """How the pixels of a view are made from its photo: resize, then undistort."""

    size: Size
    """The photo's size after resizing."""
    resize_filter: str | None
    """``area``, ``bicubic`` or ``lanczos``; None where the photo keeps its size."""
    lens: Lens | None
    """What to undistort; None for a pinhole."""


@dataclass(frozen=True)
class MaskSource:
    """Names where the valid mask of a photo comes from: a file, its alpha channel, or both."""

    path: Path | None
    """Mask file: white is valid, black is not; of any size with the photo's aspect ratio."""
    alpha: bool
    """Whether the photo's own alpha channel excludes pixels, too: opaque is valid."""
    invert: bool = False
    """Whether black and transparent pixels are the valid ones instead."""


@dataclass(frozen=True, eq=False)
class View:
    """One registered photo with its pose and intrinsics."""

    name: str
    """COLMAP's name: path below the image folder, with extension."""
    path: Path
    """The photo as the user has it."""
    camera_id: int
    cam_from_world: np.ndarray
    """[4, 4] float64, rigid, in the normalised world."""
    K: np.ndarray
    """[3, 3] float64, in pixels of the view."""
    width: int
    height: int
    colmap_size: Size | None = None
    """Size that COLMAP's camera has; None when it is the photo's own."""
    recipe: Recipe | None = None
    """What is done to the photo; None where it is used as it is on disk."""
    mask: MaskSource | None = None
    """None where every pixel counts."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A COLMAP scene, ready to train on."""

    name: str
    root: Path
    image_dir: str
    """Folder of the photos below ``root``, for example ``images_4``."""
    downscale: int
    views: tuple[View, ...]
    """Sorted by name."""
    test_every: int
    """Every k-th view, from the first, is a test view; 0 means that there are none, or that
    ``test_names`` says which."""
    points: np.ndarray
    """[P, 3] float32, normalised world; may be empty."""
    colors: np.ndarray
    """[P, 3] uint8."""
    normalized_from_colmap: np.ndarray
    """[4, 4] float64 similarity: x_normalised = T x_colmap, in homogeneous coordinates."""
    dropped_points: int
    """SfM points left out because they are not finite or sit on a camera centre."""
    model_dir: str = "sparse/0"
    """Folder of the COLMAP model below ``root``."""
    image_source: str = "as found"
    """``as found``: the photos of ``image_dir``; ``resized``: made from them for ``downscale``."""
    resize_filter: str | None = None
    """Filter of the resizing: ``area``, ``bicubic`` or ``lanczos``."""
    undistorted: bool = False
    """Whether photos were taken through a lens that had to be undone."""
    masks: bool = False
    """Whether pixels are left out of loss and scores."""
    test_names: frozenset[str] = frozenset()
    """Names of the test views, where a list says which."""
    model_digest: str = ""
    """Of the model's files as they were read, see `digest.model_digest`; empty where a scene was
    made without any."""
    cameras_digest: str = ""
    """Of its images alone, see `digest.cameras_digest`."""
    blank: frozenset[str] = frozenset()
    """Names of views of which no pixel counts: they are in neither part of the split, and leave the
    other views where they were. Which these are is known when the masks are decoded."""
    doubts: tuple[Doubt, ...] = ()
    """What is probably wrong with the model, or between it and the photos' sizes."""

    @property
    def train_views(self) -> tuple[View, ...]:
        """Returns views to train on, sorted by name."""
        return self._part(is_test=False)

    @property
    def test_views(self) -> tuple[View, ...]:
        """Held-out views, sorted by name; disjoint from ``train_views``."""
        return self._part(is_test=True)

    def _part(self, *, is_test: bool) -> tuple[View, ...]:
        return tuple(
            view
            for i, view in enumerate(self.views)
            if self._is_test(i, view) == is_test and view.name not in self.blank
        )

    def _is_test(self, index: int, view: View) -> bool:
        return view.name in self.test_names or is_test_index(index, self.test_every)

    @property
    def scene_scale(self) -> float:
        """Returns the largest distance of a camera centre to their mean, in the normalised world.

        Where all cameras share one centre, the median distance of the points to it instead.
        """
        poses = np.stack([v.cam_from_world for v in self.views])
        return scene_extent(camera_centers(poses), self.points)

    @property
    def image_sizes(self) -> tuple[Size, ...]:
        """Returns distinct sizes of the views, sorted."""
        return tuple(sorted({(v.width, v.height) for v in self.views}))

    @property
    def colmap_sizes(self) -> tuple[Size, ...]:
        """Returns distinct sizes that COLMAP's cameras have, sorted."""
        return tuple(sorted({v.colmap_size or (v.width, v.height) for v in self.views}))
