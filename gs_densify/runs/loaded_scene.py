"""Reads the scene of a configuration, photos included."""

import dataclasses
import time

import numpy as np

from gs_densify.config.options import TrainConfig
from gs_densify.runs.progress_bar import shows_progress
from gs_densify.scene import near_plane as near
from gs_densify.scene.load import PhotoOptions, load_scene
from gs_densify.scene.photos.load import load_photos
from gs_densify.scene.presets import resolve_scene
from gs_densify.scene.scene import Scene


@dataclasses.dataclass
class LoadedScene:
    """A scene with its decoded photos and masks, and the seconds that took."""

    scene: Scene
    train_photos: list[np.ndarray]
    test_photos: list[np.ndarray]
    """For each view, uint8 [H,W,3]."""
    train_masks: list[np.ndarray | None]
    test_masks: list[np.ndarray | None]
    near_plane: float
    """Depth below which nothing is drawn, in the scene's world."""
    seconds: float


def find_scene(config: TrainConfig) -> Scene:
    """The scene of a configuration: poses and points, no pixels."""
    asked = config.data.image_source
    source = resolve_scene(config.scene, data_root=config.data_root, downscale=config.downscale)
    return load_scene(
        source.root,
        name=source.name,
        downscale=source.downscale,
        test_every=config.data.test_every,
        normalize=config.data.normalize,
        photos=PhotoOptions(
            image_source=source.image_source if asked == "auto" else asked,
            resize_filter=config.data.resize_filter,
            masks=config.data.masks,
            skip_missing=config.data.skip_missing,
        ),
    )


def near_plane_of(config: TrainConfig, scene: Scene) -> float:
    """The depth below which nothing is drawn: the configuration's, or else the scene's."""
    if config.render.near_plane is not None:
        return config.render.near_plane
    return near.near_plane(scene.views, scene.points)


def load(config: TrainConfig, *, test_only: bool = False) -> LoadedScene:
    """Read the scene of a configuration; with `test_only`, decode held-out photos only."""
    started = time.perf_counter()
    scene = find_scene(config)
    wanted = scene.test_views if test_only else scene.views
    photos = load_photos(wanted, workers=config.data.workers, progress=shows_progress())
    by_name = {view.name: photo for view, photo in zip(wanted, photos, strict=True)}
    train = [] if test_only else [by_name[view.name] for view in scene.train_views]
    test = [by_name[view.name] for view in scene.test_views]
    return LoadedScene(
        scene,
        [photo.pixels for photo in train],
        [photo.pixels for photo in test],
        [photo.mask for photo in train],
        [photo.mask for photo in test],
        near_plane_of(config, scene),
        time.perf_counter() - started,
    )
