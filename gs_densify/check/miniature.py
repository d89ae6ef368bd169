"""A miniature of the tiny scene, on which a training step takes milliseconds on one CPU core."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch

from gs_densify.config.options import TrainConfig
from gs_densify.distributed.group import ALONE, Group
from gs_densify.runs.loaded_scene import load
from gs_densify.scene.extent import cameras_radius, extent_of
from gs_densify.scene.in_view import typical_depth
from gs_densify.scene.normalize import camera_centers
from gs_densify.scene.scene import View
from gs_densify.strategies.adapter import StrategyAdapter
from gs_densify.training.create import build_trainer
from gs_densify.training.trainer import Trainer

_SHRINK = 2
_VIEW_EVERY = 4
_POINT_EVERY = 4


@dataclass(frozen=True)
class Miniature:
    """Some training views at half the size, and some of the points."""

    views: list[View]
    photos: list[np.ndarray]
    points: np.ndarray
    colors: np.ndarray
    scene_scale: float
    extent: float
    near_plane: float

    def with_points(self, points: np.ndarray) -> "Miniature":
        """Returns the scene with other points, coloured as its first ones are."""
        return dataclasses.replace(self, points=points, colors=self.colors[: len(points)])

    def out_of_sight(self) -> "Miniature":
        """Returns the scene with its points behind every camera."""
        forward = np.mean([view.cam_from_world[2, :3] for view in self.views], axis=0)
        return self.with_points(self.points - 100.0 * self.scene_scale * forward)

    def of_two_photos(self) -> "Miniature":
        """Returns the scene with its first two views alone."""
        return self._seen_by(self.views[:2], self.photos[:2])

    def of_a_short_baseline(self) -> "Miniature":
        """Returns the scene with copies of its first view, a thousandth of its depth apart."""
        first = self.views[0]
        step = 1e-3 * typical_depth([first.camera], self.points)
        views = [_aside(first, step * i) for i in range(len(self.views))]
        return self._seen_by(views, [self.photos[0]] * len(views))

    def _seen_by(self, views: list[View], photos: list[np.ndarray]) -> "Miniature":
        centers = camera_centers(np.stack([view.cam_from_world for view in views]))
        radius = cameras_radius(centers, self.points)
        extent = extent_of(radius, typical_depth([view.camera for view in views], self.points))
        return dataclasses.replace(
            self, views=views, photos=photos, scene_scale=radius, extent=extent
        )


def load_miniature() -> Miniature:
    """Makes it from the tiny scene, which is generated on first use."""
    loaded = load(TrainConfig(scene="tiny", device="cpu"))
    scene = loaded.scene
    return Miniature(
        views=[_shrunk_view(view) for view in scene.train_views[::_VIEW_EVERY]],
        photos=[_shrunk_photo(photo) for photo in loaded.train_photos[::_VIEW_EVERY]],
        points=scene.points[::_POINT_EVERY],
        colors=scene.colors[::_POINT_EVERY],
        scene_scale=scene.scene_scale,
        extent=scene.extent,
        near_plane=loaded.near_plane,
    )


def make_trainer(
    config: TrainConfig,
    scene: Miniature,
    adapter: StrategyAdapter,
    group: Group = ALONE,
    device: str = "cpu",
) -> Trainer:
    """Returns a trainer at step 0, as `gs-train` makes it: seeded, of one process of a `group`."""
    return build_trainer(
        config,
        adapter,
        points=scene.points,
        colors=scene.colors,
        views=scene.views,
        photos=scene.photos,
        scene_scale=scene.scene_scale,
        extent=scene.extent,
        near_plane=scene.near_plane,
        device=torch.device(device),
        group=group,
    )


def _aside(view: View, by: float) -> View:
    pose = view.cam_from_world.copy()
    pose[0, 3] -= by
    return dataclasses.replace(view, cam_from_world=pose)


def _shrunk_view(view: View) -> View:
    scale = np.diag([1 / _SHRINK, 1 / _SHRINK, 1.0])
    return dataclasses.replace(
        view, K=scale @ view.K, width=view.width // _SHRINK, height=view.height // _SHRINK
    )


def _shrunk_photo(photo: np.ndarray) -> np.ndarray:
    height, width = (side // _SHRINK for side in photo.shape[:2])
    blocks = photo.reshape(height, _SHRINK, width, _SHRINK, 3).astype(np.float32)
    return np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)
