"""Reads the scene of a configuration, photos included."""

import dataclasses
import logging
import math
import time
from collections.abc import Sequence

import numpy as np

from gs_densify.config.options import SFM, ReadingOptions, TrainConfig
from gs_densify.distributed.environment import processes_here
from gs_densify.errors import SceneError
from gs_densify.messages import DOUBT
from gs_densify.results import DataRecord
from gs_densify.scene import near_plane as near
from gs_densify.scene.blank import without_blank
from gs_densify.scene.consistency.colors import all_doubts
from gs_densify.scene.consistency.samples import spread
from gs_densify.scene.georeference import offset_of
from gs_densify.scene.load import PhotoOptions, load_scene
from gs_densify.scene.photos.places import (
    PhotosInMemory,
    PhotosOnDisk,
    ReadyPhotos,
    fit_in_memory,
)
from gs_densify.scene.presets import SceneSource, resolve_scene
from gs_densify.scene.scene import Scene, View

_log = logging.getLogger(__name__)

_FEW = 24
"""Photos that a forecast reads where they do not fit into memory."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """What a run finds in its scene and keeps, be the scene's points others later; null: not yet.

    Runs of earlier versions do not keep it.
    """

    near_plane: float | None = None
    """Depth below which nothing is drawn, in the run's world."""
    normalized_from_colmap: list[list[float]] | None = None
    """[4][4], the run's world."""
    blank: list[str] = dataclasses.field(default_factory=list)
    """Names of the views of which masks let no pixel count."""
    test_names: list[str] | None = None
    """The held-out views, where a list says which."""
    scene: str | None = None
    """Name of the scene, be its folder called otherwise later."""
    cameras: str | None = None
    """The scene's `cameras_digest`, by which it is known in another place."""
    steps: int | None = None
    """Length of the run, where it was asked for as `auto`."""

    def __post_init__(self) -> None:
        if self.near_plane is not None and not 0 < self.near_plane < math.inf:
            raise ValueError(f"near_plane is {self.near_plane}")
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps is {self.steps}")
        if self.normalized_from_colmap is None:
            return
        world = [row for row in self.normalized_from_colmap if len(row) == 4]
        if len(world) != 4 or len(self.normalized_from_colmap) != 4:
            raise ValueError("normalized_from_colmap has other than 4 rows of 4 numbers")
        if not np.isfinite(world).all() or not np.linalg.det(world):
            raise ValueError("normalized_from_colmap is no change of frames")


NOTHING_FOUND = Found()


@dataclasses.dataclass
class LoadedScene:
    """A scene with its photos and masks, and the seconds that took."""

    scene: Scene
    train_photos: Sequence[np.ndarray]
    test_photos: Sequence[np.ndarray]
    """For each view, uint8 [H,W,3]: decoded, or `KeptPhotos` that are read one by one."""
    train_masks: Sequence[np.ndarray | None]
    test_masks: Sequence[np.ndarray | None]
    near_plane: float
    """Depth below which nothing is drawn, in the scene's world."""
    seconds: float
    data: DataRecord | None = None
    """None where some of the photos alone were read."""
    sampled_from: Scene | None = None
    """The scene of which these views are a few, where a forecast asked for no more."""

    @property
    def found(self) -> Found:
        """Returns what a run with this scene keeps of it."""
        world = self.scene.normalized_from_colmap.tolist()
        return Found(
            near_plane=self.near_plane,
            normalized_from_colmap=world,
            blank=sorted(self.scene.blank),
            test_names=sorted(self.scene.test_names) or None,
            scene=self.scene.name,
            cameras=self.scene.cameras_digest,
        )


def find_scene(
    config: TrainConfig, found: Found = NOTHING_FOUND, *, needs_training: bool = True
) -> Scene:
    """Returns the scene of a configuration: poses and points, no pixels; in the world and with the
    list of held-out views that were found.

    Raises:
        SceneError: it is not there, damaged, or another scene than was found.
    """
    world = found.normalized_from_colmap
    source = resolve_scene(config.scene, data_root=config.data_root, downscale=config.downscale)
    scene = load_scene(
        source.root,
        name=found.scene or source.name,
        downscale=source.downscale,
        test_every=config.data.test_every,
        normalize=config.data.normalize,
        normalized_from_colmap=None if world is None else np.array(world),
        photos=photo_options(source, config.data),
        model_folder=source.model,
        needs_points=needs_training and config.init.source == SFM,
        needs_training=needs_training,
        test_list=found.test_names or config.data.test_list,
    )
    if found.cameras is not None and scene.cameras_digest != found.cameras:
        raise SceneError(
            f"{source.root} has another COLMAP model than the run was trained on: other photos,"
            " cameras or poses",
            expected="expected the data of the run",
            action="name the folder where they are now with --scene; other data are for its PLY",
        )
    return scene


def photo_options(source: SceneSource, asked: ReadingOptions) -> PhotoOptions:
    """Returns which pixels the views of a scene are made of, as it is asked for."""
    is_open = asked.image_source == "auto"
    return PhotoOptions(
        image_source=source.image_source if is_open else asked.image_source,
        resize_filter=asked.resize_filter,
        masks=asked.masks,
        skip_missing=asked.skip_missing,
    )


def near_plane_of(config: TrainConfig, scene: Scene, found: Found = NOTHING_FOUND) -> float:
    """Returns the depth below which nothing is drawn: that found before, asked for, or else the
    scene's.
    """
    for known in (found.near_plane, config.render.near_plane):
        if known is not None:
            return known
    return near.near_plane(scene.views, scene.points)


def load(
    config: TrainConfig, *, test_only: bool = False, found: Found = NOTHING_FOUND
) -> LoadedScene:
    """Reads the scene of a configuration.

    Args:
        config: the configuration.
        test_only: decode held-out photos only.
        found: what the run of a model has found in the scene.
    """
    started = time.perf_counter()
    scene = find_scene(config, found, needs_training=not test_only)
    wanted = scene.test_views if test_only else scene.views
    photos = _read(config, scene, wanted)
    scene = _checked(scene, wanted, photos, known=found.blank, is_whole=not test_only)
    train = () if test_only else scene.train_views
    return LoadedScene(
        scene,
        photos.pixels(train),
        photos.pixels(scene.test_views),
        photos.masks(train),
        photos.masks(scene.test_views),
        near_plane_of(config, scene, found),
        time.perf_counter() - started,
        None if test_only else _record(scene, photos.digest),
    )


def load_for_forecast(config: TrainConfig) -> LoadedScene:
    """Reads the scene of a configuration; of photos beyond host memory it reads a few alone, and
    writes nothing.
    """
    started = time.perf_counter()
    whole = find_scene(config)
    if _fit(config, whole.views):
        return load(config)
    few = tuple(spread(whole.train_views, _FEW))
    photos = PhotosInMemory(few, workers=config.data.workers)
    sample = dataclasses.replace(whole, views=few, test_every=0, test_names=frozenset())
    sample = _checked(sample, few, photos)
    return LoadedScene(
        sample,
        photos.pixels(sample.train_views),
        [],
        photos.masks(sample.train_views),
        [],
        near_plane_of(config, whole),
        time.perf_counter() - started,
        sampled_from=whole,
    )


def _read(config: TrainConfig, scene: Scene, wanted: Sequence[View]) -> ReadyPhotos:
    """Returns the photos of some views of a scene, in memory if they fit."""
    options = config.data
    if _fit(config, wanted):
        return PhotosInMemory(wanted, workers=options.workers)
    budget = options.disk_budget * 2**30
    return PhotosOnDisk(scene.views, wanted, disk_budget=budget, workers=options.workers)


def _fit(config: TrainConfig, views: Sequence[View]) -> bool:
    budget = config.data.host_budget
    budget = None if budget is None else budget * 2**30
    return fit_in_memory(views, budget, processes=processes_here())


def _checked(
    scene: Scene,
    views: Sequence[View],
    photos: ReadyPhotos,
    *,
    known: Sequence[str] = (),
    is_whole: bool = True,
) -> Scene:
    """Returns the scene without views of which no pixel counts; says what else is doubtful."""
    is_blank = {view.name: photos.is_blank(view) for view in views}
    scene = without_blank(scene, is_blank, known=known)
    if is_whole:
        for doubt in all_doubts(scene, photos.photo):
            _log.log(DOUBT, "%s", doubt)
    return scene


def _record(scene: Scene, photos: str) -> DataRecord:
    offset = offset_of(np.linalg.inv(scene.normalized_from_colmap))
    return DataRecord(
        model=scene.model_digest,
        photos=photos,
        offset=None if offset is None else offset.tolist(),
    )
