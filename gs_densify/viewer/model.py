"""What a window looks onto: the model of a run, or of a PLY file."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from gs_densify.errors import ConfigError, ResultError, SceneError
from gs_densify.model.files.base import load_model
from gs_densify.rendering.base import RenderSettings
from gs_densify.results import Scores
from gs_densify.results.names import POINT_CLOUD
from gs_densify.results.protocol import GSPLAT_NEAR_PLANE
from gs_densify.results.scored import Scored, is_scored, load_scored
from gs_densify.runs import open_model as model_file
from gs_densify.runs.loaded_scene import find_scene, near_plane_of
from gs_densify.scene.georeference import from_local, offset_of
from gs_densify.scene.normalize import World
from gs_densify.scene.scene import Scene
from gs_densify.scene.upright import up_of_photos
from gs_densify.viewer.shots import Shot, cameras_beside, read_cameras, shots_of
from gs_densify.viewer.start import (
    COLMAP_UP,
    Z_UP,
    Direction,
    StartingPoint,
    bulk_of,
    direction,
    start_at_photos,
    start_beside,
    up_of_bulk,
)


@dataclasses.dataclass(frozen=True)
class Model:
    """Gaussians to look at, on the CPU."""

    title: str
    splats: dict[str, Tensor]
    settings: RenderSettings
    """How it is rendered; with gsplat's near plane where no run says another."""
    up: Direction
    start: StartingPoint
    shots: tuple[Shot, ...] = ()
    """The photos that it was made from, in its own frame; empty where they are not known."""
    remarks: tuple[str, ...] = ()
    """What is not as one might expect."""


def open_model(
    path: Path,
    *,
    step: int | None = None,
    scene: str | None = None,
    data_root: Path | None = None,
) -> Model:
    """Reads a run's checkpoint after `step` (the latest when None), or a PLY file.

    Args:
        path: of the run's folder, or of the file.
        step: of a run.
        scene: where the scene of the model is; by default where the run says, or for a PLY what
            lies beside it.
        data_root: folder of the preset scenes.

    Raises:
        ResultError: where nothing is at `path`, or it is damaged or something else.
        SceneError: where `scene` is not there or damaged.
        ConfigError: for `step` with a PLY file, and for `data_root` with one without `scene`.
    """
    if not path.exists():
        raise ResultError(
            f"{path}: there is no such folder or file",
            action="give a folder that gs-train wrote, or a PLY",
        )
    if path.is_dir() or scene is not None:
        options = {} if data_root is None else {"data_root": data_root}
        request = model_file.Request(step=step, scene=scene, options=options)
        return _with_scene(model_file.open_model(path, request), scene is not None)
    for option, value in (("step", step), ("data-root", data_root)):
        if value is not None:
            raise ConfigError(
                f"says something about a run or a scene, but {path} is a file",
                action="leave it out" if option == "step" else "add --scene, or leave it out",
                option=option,
            )
    return _bare(path)


def _bare(path: Path) -> Model:
    """Returns the model of a file in the frame that it has, with the cameras beside it."""
    contents = load_model(path)
    cameras = cameras_beside(path)
    shots = () if cameras is None else read_cameras(cameras)
    remarks = []
    if contents.offset is not None:
        x, y, z = contents.offset
        remarks.append(
            f"{path.name} is shown in its local frame: its positions are those of the scene less"
            f" ({x:g}, {y:g}, {z:g})"
        )
    return _model(
        path.name,
        contents.splats,
        RenderSettings(antialiased=bool(contents.antialiased)),
        shots,
        None if contents.up is None else direction(contents.up),
        remarks,
    )


def _with_scene(opened: model_file.OpenedModel, is_named: bool) -> Model:
    """Returns a model in the world of its scene, where that is there; it must be if it is named."""
    config, scene, remarks = opened.config, None, []
    scored = None
    if opened.run is not None:
        try:
            scored = _scored(opened.run, opened.step)
        except ResultError as error:
            remarks.append(f"without scores: {error.found}")
    scores = {} if scored is None else {view.name: view.scores for view in scored.views}
    try:
        scene = find_scene(config, opened.found, needs_training=False)
        shots = shots_of(scene, scores)
    except SceneError as error:
        if is_named:
            raise
        shots = _kept_shots(opened, scores)
        # What to do about it is for the commands that need the scene.
        remarks.append(f"without the {'photos' if shots else 'cameras'}: {error.found_where}")
    if scored is not None:
        metrics = scored.protocol.metrics
        shots = tuple(dataclasses.replace(shot, metrics=metrics) for shot in shots)
    splats = dict(opened.splats)
    if opened.in_colmap_frame and scene is not None:
        splats = opened.moved_from_colmap(scene.normalized_from_colmap)
    return _model(
        _title(opened),
        splats,
        RenderSettings(
            antialiased=config.render.antialiased, near_plane=_near_plane(opened, scene)
        ),
        shots,
        _world_up(config.data.normalize),
        remarks,
    )


def _kept_shots(opened: model_file.OpenedModel, scores: Mapping[str, Scores]) -> tuple[Shot, ...]:
    """Returns the cameras that a run has written for other programs, in its own world; none where
    it has not, or of a former version its world is not known.
    """
    world = opened.found.normalized_from_colmap
    path = None if opened.run is None else cameras_beside(opened.run / POINT_CLOUD)
    if path is None or world is None:
        return ()
    similarity = np.array(world)
    similarity = from_local(similarity, offset_of(np.linalg.inv(similarity)))
    return tuple(shot.moved(similarity).scored(scores) for shot in read_cameras(path))


def _model(
    title: str,
    splats: dict[str, Tensor],
    settings: RenderSettings,
    shots: tuple[Shot, ...],
    up: Direction | None,
    remarks: list[str],
) -> Model:
    """Returns a model that opens upright; `up` is its file's or its world's, where no photo says
    better.
    """
    bulk = bulk_of(splats)
    if shots:
        poses = np.stack([shot.camera.viewmat() for shot in shots])
        x, y, z = map(float, up_of_photos(poses))
        start = start_at_photos(shots, bulk, (x, y, z))
        return Model(title, splats, settings, (x, y, z), start, shots, tuple(remarks))
    up = up or up_of_bulk(bulk)
    return Model(title, splats, settings, up, start_beside(bulk, up), (), tuple(remarks))


def _title(opened: model_file.OpenedModel) -> str:
    if opened.run is None:
        return opened.file.name
    config = opened.config
    return f"{Path(config.scene).name}, {Path(config.strategy).stem}, step {opened.step}"


def _scored(run: Path, step: int | None) -> Scored | None:
    """Returns the scores of a run, where it has them of the model after `step`."""
    if not is_scored(run):
        return None
    scored = load_scored(run)
    return scored if scored.step == step else None


def _world_up(world: World) -> Direction:
    """Returns the direction that is up in a run's world, as far as its name says."""
    return COLMAP_UP if world == "none" else Z_UP


def _near_plane(opened: model_file.OpenedModel, scene: Scene | None) -> float:
    """Returns the run's own; where that is not known its scene's, or else gsplat's."""
    if scene is not None:
        return near_plane_of(opened.config, scene, opened.found)
    return opened.found.near_plane or opened.config.render.near_plane or GSPLAT_NEAR_PLANE
