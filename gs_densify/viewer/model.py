"""What a window looks onto: the model of a run, or of a PLY file."""

import dataclasses
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gs_densify.errors import ConfigError, ResultError, SceneError
from gs_densify.model.files.base import load_model
from gs_densify.rendering.base import RenderSettings
from gs_densify.results.protocol import GSPLAT_NEAR_PLANE
from gs_densify.runs import open_model as model_file
from gs_densify.runs.loaded_scene import find_scene, near_plane_of
from gs_densify.scene.normalize import World, camera_centers, mean_up
from gs_densify.scene.scene import Scene

Direction = tuple[float, float, float]

NORMALIZED_UP: Direction = (0.0, 0.0, 1.0)
COLMAP_UP: Direction = (0.0, -1.0, 0.0)
"""COLMAP's world has no up; it mostly follows its first cameras, whose y axis points down."""


@dataclasses.dataclass(frozen=True)
class Model:
    """Gaussians to look at, on the CPU."""

    title: str
    splats: dict[str, Tensor]
    settings: RenderSettings
    """How it is rendered; with gsplat's near plane where no run says another."""
    up: Direction
    scene: Scene | None = None
    """The scene in the model's own frame; None where there is none."""
    no_scene: str | None = None
    """Why the scene of a run is not there."""


def open_model(path: Path, *, step: int | None = None, data_root: Path | None = None) -> Model:
    """Reads a run's checkpoint after `step` (the latest when None), or a PLY file.

    Raises:
        ResultError: where nothing is at `path`, or it is damaged or something else.
        ConfigError: for `step` or `data_root` with a PLY file.
    """
    if path.is_dir():
        return _open_run(path, step, data_root)
    if not path.exists():
        raise ResultError(
            f"{path}: there is no such folder or file",
            action="give a folder that gs-train wrote, or a PLY",
        )
    for option, value in (("step", step), ("data-root", data_root)):
        if value is not None:
            raise ConfigError(f"says something about a run, but {path} is a file", option=option)
    contents = load_model(path)
    settings = RenderSettings(antialiased=bool(contents.antialiased))
    return Model(path.name, contents.splats, settings, COLMAP_UP)


def _open_run(run: Path, step: int | None, data_root: Path | None) -> Model:
    options = {} if data_root is None else {"data_root": data_root}
    opened = model_file.open_model(run, model_file.Request(step=step, options=options))
    config = opened.config
    scene, no_scene = None, None
    try:
        scene = find_scene(config, opened.found)
    except SceneError as error:
        no_scene = error.found_where  # what to do about it is for the commands that need it
    return Model(
        f"{Path(config.scene).name}, {Path(config.strategy).stem}, step {opened.step}",
        dict(opened.splats),
        RenderSettings(
            antialiased=config.render.antialiased,
            near_plane=_near_plane(opened, scene),
        ),
        _up(config.data.normalize, scene),
        scene,
        no_scene,
    )


def _up(world: World, scene: Scene | None) -> Direction:
    """Returns the direction that a window shows upwards in a run's world."""
    if world == "none":
        return COLMAP_UP
    if world == "cameras" or scene is None:
        return NORMALIZED_UP
    x, y, z = mean_up(np.stack([view.cam_from_world for view in scene.views]))
    return (float(x), float(y), float(z))


def _near_plane(opened: model_file.OpenedModel, scene: Scene | None) -> float:
    """Returns the run's own; where that is not known its scene's, or else gsplat's."""
    if scene is not None:
        return near_plane_of(opened.config, scene, opened.found)
    return opened.found.near_plane or opened.config.render.near_plane or GSPLAT_NEAR_PLANE


@dataclasses.dataclass(frozen=True)
class StartingPoint:
    """Where a window looks from at first, and the point that it turns about."""

    position: Direction
    look_at: Direction


def starting_point(model: Model) -> StartingPoint:
    """Returns the first training view, turning about the middle of the Gaussians; or from beside
    them.
    """
    means = model.splats["means"].double()
    middle = means.median(dim=0).values.numpy()
    radius = float((means - torch.from_numpy(middle)).norm(dim=1).median()) or 1.0
    if model.scene is None:
        up = np.array(model.up)
        position = middle + 2.0 * radius * (np.roll(up, 1) + 0.3 * up)
        return StartingPoint(tuple(position.tolist()), tuple(middle.tolist()))
    pose = model.scene.train_views[0].cam_from_world
    position, forward = camera_centers(pose[None])[0], pose[2, :3]
    distance = max(float(forward @ (middle - position)), 0.1 * radius)
    return StartingPoint(tuple(position.tolist()), tuple((position + distance * forward).tolist()))
