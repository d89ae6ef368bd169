"""Opens what gs-eval scores: a run's folder, a checkpoint, or any 3DGS PLY."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from gs_densify.config.file import from_mapping, read_mapping, with_overrides
from gs_densify.config.layers import PROTOCOL_TEST_EVERY, evaluation_settings
from gs_densify.config.options import ProtocolName, TrainConfig
from gs_densify.errors import ConfigError, ResultError
from gs_densify.model.files.base import ModelFormat, format_of, load_as
from gs_densify.model.transform import transform_splats
from gs_densify.results import load_results
from gs_densify.results.decode import decode
from gs_densify.runs import layout as run_folder
from gs_densify.runs.checkpoint import latest_checkpoint, load_checkpoint
from gs_densify.runs.checkpoint_files import checkpoint_path
from gs_densify.runs.loaded_scene import NOTHING_FOUND, Found
from gs_densify.scene.georeference import from_local


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for besides the model's path. None: what the run says, or the default."""

    step: int | None = None
    scene: str | None = None
    protocol: ProtocolName | None = None
    antialiased: bool = False
    near_plane: float | None = None
    test_every: int | None = None
    test_list: Path | None = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Further options of the configuration, by dotted name."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class OpenedModel:
    """A model and how it is to be scored."""

    file: Path
    run: Path | None
    """The run that it belongs to; None where it is no run's."""
    config: TrainConfig
    splats: Mapping[str, Tensor]
    step: int | None
    """Optimiser steps taken; None where the file does not say."""
    in_colmap_frame: bool
    """Else in the normalised world of the run."""
    offset: np.ndarray | None = None
    """[3], what was taken from the means of a file; None for nothing."""
    found: Found = NOTHING_FOUND
    """What its run found in the scene."""
    says_nothing_of_antialiasing: bool = False

    def moved_from_colmap(self, world: np.ndarray) -> dict[str, Tensor]:
        """Returns the Gaussians, which are in COLMAP's frame, in a world [4, 4] made from it."""
        return transform_splats(self.splats, from_local(world, self.offset))


def open_model(path: Path, request: Request) -> OpenedModel:
    """Reads a model.

    Raises:
        ResultError: where there is none, or it is damaged.
        ConfigError: where the request does not fit what `path` is.
    """
    if path.is_dir():
        return _from_run(path, request)
    if not path.is_file():
        raise ResultError(
            f"{path}: there is no such file or folder",
            action="give a run's folder, a checkpoint or a PLY",
        )
    found = format_of(path)
    return _from_checkpoint(path, request) if found is None else _from_file(path, found, request)


def _from_run(run: Path, request: Request) -> OpenedModel:
    config = _run_config(run, request)
    step = request.step
    return _of_run(
        run, latest_checkpoint(run) if step is None else checkpoint_path(run, step), config
    )


def _from_checkpoint(path: Path, request: Request) -> OpenedModel:
    _refuse(request, path, "a checkpoint is of one step", step=request.step)
    for folder in (path.parent, path.parent.parent):
        if (folder / run_folder.CONFIG).is_file():
            return _of_run(folder, path, _run_config(folder, request))
    raise ResultError(
        f"{path}: no {run_folder.CONFIG} beside it or in the folder above, which says how to render"
        " it",
        action="leave checkpoints in their run, or export the model as PLY",
    )


def _of_run(run: Path, checkpoint: Path, config: TrainConfig) -> OpenedModel:
    contents = load_checkpoint(checkpoint, "cpu")
    return OpenedModel(
        file=checkpoint,
        run=run,
        config=config,
        splats=contents["splats"],
        step=contents["step"],
        in_colmap_frame=False,
        found=_found(run, checkpoint, contents, config),
    )


def _found(run: Path, path: Path, contents: Mapping[str, Any], config: TrainConfig) -> Found:
    """Returns what the run keeps of its scene: in its checkpoints, or of an earlier version in its
    results.

    Raises:
        ResultError: it is damaged.
    """
    found = decode(Found, contents.get("run", {}).get("found", {}), f"{path}: run: found")
    unknown = found.near_plane is None and config.render.near_plane is None
    if unknown and (run / run_folder.RESULTS).is_file():
        near_plane = load_results(run / run_folder.RESULTS).protocol.conditions.near_plane
        return dataclasses.replace(found, near_plane=near_plane)
    return found


def _run_config(run: Path, request: Request) -> TrainConfig:
    """Returns the configuration saved in `run`, with what the request replaces."""
    path = run / run_folder.CONFIG
    if not path.is_file():
        raise ResultError(
            f"{run}: no {run_folder.CONFIG}", action="give the folder that gs-train wrote"
        )
    _refuse(
        request,
        run,
        f"its {run_folder.CONFIG} says so",
        antialiased=request.antialiased or None,
        near_plane=request.near_plane,
        test_every=request.test_every,
        test_list=request.test_list,
    )
    config = from_mapping(read_mapping(path), str(path))
    if request.protocol is not None and config.data.test_every not in (0, PROTOCOL_TEST_EVERY):
        raise ConfigError(
            f"{run} was trained with every {config.data.test_every}th photo held out, but protocol"
            f" {request.protocol} holds out every {PROTOCOL_TEST_EVERY}th",
            action="leave --protocol out",
        )
    return _with_request(config, request)


def _from_file(path: Path, model_format: ModelFormat, request: Request) -> OpenedModel:
    kind = model_format.suffix.removeprefix(".").upper()
    _refuse(request, path, f"a {kind} holds one model", step=request.step)
    if request.scene is None:
        raise ConfigError(f"{path}: a {kind} does not name its scene", action="add --scene")
    contents = load_as(model_format, path)
    if request.antialiased and contents.antialiased is False:
        raise ConfigError(
            f"{path}: the header says that the model is not antialiased",
            action="leave --antialiased out",
        )
    config = TrainConfig(scene=request.scene)
    every = PROTOCOL_TEST_EVERY if request.test_every is None else request.test_every
    settings = {
        "render.antialiased": request.antialiased or bool(contents.antialiased),
        "render.near_plane": request.near_plane,
        "data.test_every": every,
        "data.test_list": request.test_list,
    }
    return OpenedModel(
        file=path,
        run=None,
        config=_with_request(with_overrides(config, settings), request),
        splats=contents.splats,
        step=None,
        in_colmap_frame=True,
        offset=contents.offset,
        says_nothing_of_antialiasing=contents.antialiased is None,
    )


def _with_request(config: TrainConfig, request: Request) -> TrainConfig:
    """Returns the scene, then the protocol, then single options."""
    if request.scene is not None:
        config = dataclasses.replace(config, scene=request.scene)
    if request.protocol is not None:
        downscale = request.options.get("downscale", config.downscale)
        settings = evaluation_settings(request.protocol, config.scene, downscale)
        config = with_overrides(config, {"protocol": request.protocol, **settings})
    config = with_overrides(config, request.options)
    return with_overrides(config, _left_open(config, request))


def _left_open(config: TrainConfig, request: Request) -> dict[str, Any]:
    """Returns what of the run's own way to make photos smaller has no effect on those asked for."""
    is_full_size = request.options.get("downscale") == 1
    found: dict[str, Any] = {"data.image_source": "auto"} if is_full_size else {}
    if is_full_size or config.data.image_source == "found":
        found |= {"data.resize_filter": None}
    return {name: value for name, value in found.items() if name not in request.options}


def _refuse(request: Request, path: Path, reason: str, **given: Any) -> None:
    """Raises ConfigError where an option was given that has no effect on a model of this kind."""
    for name, value in given.items():
        if value is not None:
            raise ConfigError(f"has no effect on {path}: {reason}", option=name.replace("_", "-"))
