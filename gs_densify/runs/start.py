"""What a run starts from: the scene's points, random ones, those of a file, or a model."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from gs_densify.config.options import RANDOM, SFM, TrainConfig
from gs_densify.errors import ConfigError, SceneError
from gs_densify.home import expanded
from gs_densify.messages import remark
from gs_densify.model.files.base import format_of
from gs_densify.model.files.ply_table import read_header
from gs_densify.model.files.points import read_points
from gs_densify.model.transform import transform_splats
from gs_densify.results import load_results
from gs_densify.runs.layout import RESULTS
from gs_densify.runs.open_model import OpenedModel, Request, open_model
from gs_densify.scene.extent import cameras_middle
from gs_densify.scene.in_view import pixels_in_view
from gs_densify.scene.normalize import is_usable_point, transform_points
from gs_densify.scene.scene import Scene, View

RANDOM_POINTS = 100_000
RANDOM_EXTENT = 3.0
"""Half the side of the cube of random points, in radii of the cameras, as in gsplat's trainer."""

_SAMPLE = 10_000


@dataclasses.dataclass(frozen=True)
class Start:
    """The first Gaussians, or the points at which they are made, in the scene's world."""

    points: np.ndarray
    """[P, 3] float32."""
    colors: np.ndarray | None
    """[P, 3] uint8; None where there are Gaussians."""
    splats: Mapping[str, Tensor] | None = None
    """The Gaussians, of which `points` are the means."""


def check_start(config: TrainConfig) -> None:
    """Refuses a start that is not there (ConfigError), before the scene is loaded."""
    source = config.init.source
    if source not in (SFM, RANDOM) and not (source and expanded(source).exists()):
        raise ConfigError(
            f"is {source!r}, which is no file or folder",
            expected=f"expected {SFM}, {RANDOM}, a PLY of points or Gaussians, a run or a"
            " checkpoint",
            option="init.source",
        )
    if config.init.num_points is not None and source != RANDOM:
        raise ConfigError(
            f"{config.init.num_points} has no effect on the points of --init {source}",
            action=f"leave it out, or give --init {RANDOM}",
            option="init.num-points",
        )


def start_of(config: TrainConfig, scene: Scene) -> Start:
    """Returns what a run with this scene starts from.

    Raises:
        ConfigError: there is no such file.
        ResultError: the file is damaged or holds something else.
        SceneError: no point can be used.
    """
    source = config.init.source
    if source == SFM:
        return Start(scene.points, scene.colors)
    if source == RANDOM:
        return _random(scene, config.init.num_points or RANDOM_POINTS, config.seed)
    check_start(config)
    path = expanded(source)
    return _of_points(path, scene) if _is_points(path) else _of_model(path, scene, config)


def _random(scene: Scene, count: int, seed: int) -> Start:
    """Returns points of random colours in a cube about the cameras."""
    draw = np.random.default_rng(seed)
    half = RANDOM_EXTENT * scene.scene_scale
    middle = cameras_middle(scene.camera_centers, scene.points)
    points = middle + draw.uniform(-half, half, (count, 3))
    colors = draw.integers(0, 256, (count, 3), dtype=np.uint8)
    usable = is_usable_point(points, scene.camera_centers)
    return Start(points[usable].astype(np.float32), colors[usable])


def _is_points(path: Path) -> bool:
    """Returns whether a file is a PLY without anything of Gaussians."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        if file.read(3) != b"ply":
            return False
        file.seek(0)
        names = read_header(str(path), file).dtype.names or ()
    return not any(name.startswith(("f_dc_", "scale_", "rot_", "packed_")) for name in names)


def _of_points(path: Path, scene: Scene) -> Start:
    points, colors, has_colors = read_points(path)
    points = transform_points(scene.normalized_from_colmap, points)
    usable = is_usable_point(points, scene.camera_centers)
    _require_in_sight(path, points[usable], scene)
    said = [f"{usable.sum():,} points"]
    if not usable.all():
        said.append(f"without {(~usable).sum():,} that are not finite or on a camera")
    if not has_colors:
        said.append("grey, since it has no colours")
    remark(f"{path}: starts from {', '.join(said)}")
    return Start(points[usable].astype(np.float32), colors[usable])


def _of_model(path: Path, scene: Scene, config: TrainConfig) -> Start:
    """Returns the Gaussians of a run, a checkpoint, or a file."""
    scene_name = None
    if path.is_file() and path.suffix != ".pt":
        if format_of(path) is None:
            raise ConfigError(
                f"{path} is neither a PLY nor a checkpoint",
                action="convert points to PLY, as CloudCompare does",
                option="init.source",
            )
        scene_name = str(scene.root)
    model = open_model(path, Request(scene=scene_name))
    splats = _moved(model, scene)
    points = splats["means"].detach().cpu().numpy()
    _require_in_sight(path, points, scene)
    remark(f"{model.file}: starts from {len(points):,} Gaussians")
    _say_what_differs(model, scene, config)
    return Start(points, None, splats)


def _say_what_differs(model: OpenedModel, scene: Scene, config: TrainConfig) -> None:
    """Says what of a model's training makes this run another thing than it looks."""
    then, now = model.config.render.antialiased, config.render.antialiased
    if then != now and not model.says_nothing_of_antialiasing:
        words = {True: "antialiased", False: "not antialiased"}
        remark(f"{model.file} is {words[then]}, and this run {words[now]} (render.antialiased)")
    if model.run is None or not (model.run / RESULTS).is_file():
        return
    held_out = load_results(model.run / RESULTS).protocol.test_images
    seen = [view.name for view in scene.test_views if view.name not in held_out]
    if seen:
        remark(
            f"{model.run} was trained on {len(seen)} of the {len(scene.test_views)} photos that are"
            f" held out here, first {seen[0]!r}: the scores are not those of unseen views"
        )


def _moved(model: OpenedModel, scene: Scene) -> Mapping[str, Tensor]:
    """Returns the Gaussians of a model in a scene's world."""
    if model.in_colmap_frame:
        return model.moved_from_colmap(scene.normalized_from_colmap)
    world = model.found.normalized_from_colmap
    if world is None:
        raise ConfigError(
            f"{model.file} does not say in which world it was trained, as runs of earlier versions",
            action="start from its point_cloud.ply",
            option="init.source",
        )
    if np.array_equal(np.array(world), scene.normalized_from_colmap):
        return model.splats
    return transform_splats(model.splats, scene.normalized_from_colmap @ np.linalg.inv(world))


def _require_in_sight(path: Path, points: np.ndarray, scene: Scene) -> None:
    """Refuses points of which no photo shows one: they are in another frame."""
    some = points[:: len(points) // _SAMPLE + 1].astype(np.float64)
    if not any(_shows(view, some) for view in scene.train_views):
        raise SceneError(
            f"{path}: none of its {len(points):,} points is in the picture of a camera",
            expected="expected points in the frame of the COLMAP model",
            action="move them there, or start from others with --init",
        )


def _shows(view: View, points: np.ndarray) -> bool:
    size = np.array([view.width, view.height])
    return len(pixels_in_view(view.cam_from_world, view.K, size, points)) > 0
