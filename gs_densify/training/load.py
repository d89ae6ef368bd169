"""Reads the scene of a configuration, photos included."""

import dataclasses
import time

import numpy as np

from gs_densify.data.images import load_images
from gs_densify.data.load import load_scene
from gs_densify.data.presets import resolve_scene
from gs_densify.data.scene import Scene
from gs_densify.training.config import TrainConfig
from gs_densify.training.progress import shows_progress


@dataclasses.dataclass
class LoadedScene:
    """A scene with its decoded photos and the seconds that took."""

    scene: Scene
    train_photos: list[np.ndarray]
    test_photos: list[np.ndarray]
    seconds: float
    test_masks: list[np.ndarray | None]
    """For each test view, bool [H,W]: True where a pixel counts; None where all do."""


def find_scene(config: TrainConfig) -> Scene:
    """The scene of a configuration: poses and points, no pixels."""
    source = resolve_scene(config.scene, data_root=config.data_root, downscale=config.downscale)
    return load_scene(
        source.root,
        name=source.name,
        downscale=source.downscale,
        test_every=config.data.test_every,
        normalize=config.data.normalize,
    )


def load(config: TrainConfig, *, test_only: bool = False) -> LoadedScene:
    """Read the scene of a configuration; with `test_only`, decode held-out photos only."""
    started = time.perf_counter()
    scene = find_scene(config)
    wanted = scene.test_views if test_only else scene.views
    photos = load_images(wanted, workers=config.data.workers, progress=shows_progress())
    by_name = {view.name: photo for view, photo in zip(wanted, photos, strict=True)}
    train = [] if test_only else [by_name[view.name] for view in scene.train_views]
    test = [by_name[view.name] for view in scene.test_views]
    seconds = time.perf_counter() - started
    return LoadedScene(scene, train, test, seconds, test_masks=[None] * len(test))
