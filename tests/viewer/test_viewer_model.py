"""What gs-view opens, and what it says where there is nothing to open."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_paint import make_splats
from test_viewer_camera import make_view

from gs_densify.config.file import save_config
from gs_densify.config.options import DataOptions, RenderOptions, TrainConfig
from gs_densify.errors import ConfigError, GsDensifyError, ResultError
from gs_densify.model.files.ply import save_ply
from gs_densify.runs.checkpoint import save_checkpoint
from gs_densify.runs.checkpoint_files import checkpoint_path
from gs_densify.scene.normalize import World, mean_up
from gs_densify.scene.scene import Scene
from gs_densify.viewer.model import COLMAP_UP, NORMALIZED_UP, Model, open_model, starting_point


def make_run(
    folder: Path,
    *steps: int,
    normalize: World = "cameras",
    found: float | None = 0.04,
    **render: Any,
) -> Path:
    """The files of a run that gs-view reads; the model after n steps has n Gaussians.

    `found` is its near plane as a checkpoint has it; None: it is of an earlier version.
    """
    config = TrainConfig(
        scene="no/such/place",
        strategy="default",
        data=DataOptions(normalize=normalize),
        render=RenderOptions(**render),
    )
    folder.mkdir(exist_ok=True)
    save_config(config, folder / "config.yml")
    for step in steps:
        run = {} if found is None else {"run": {"found": {"near_plane": found}}}
        contents = {"step": step, "splats": make_splats(count=step), **run}
        save_checkpoint(checkpoint_path(folder, step), contents)
    return folder


def test_a_run_gives_its_latest_checkpoint_or_the_one_asked_for(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 7, 30)
    latest, earlier = open_model(run), open_model(run, step=7)
    assert (len(latest.splats["means"]), len(earlier.splats["means"])) == (30, 7)
    assert latest.title == "place, default, step 30"
    assert latest.scene is None and "no/such/place" in (latest.no_scene or "")


@pytest.mark.parametrize("antialiased", [False, True])
def test_a_run_knows_how_it_was_rendered_and_where_up_is(tmp_path: Path, antialiased) -> None:
    model = open_model(make_run(tmp_path / "a", 1, antialiased=antialiased))
    assert model.settings.antialiased is antialiased and model.up == NORMALIZED_UP
    assert open_model(make_run(tmp_path / "b", 1, normalize="none")).up == COLMAP_UP


def test_in_gsplats_world_up_is_where_the_photos_say(tmp_path: Path) -> None:
    data = DataOptions(normalize="focus")
    save_config(TrainConfig(scene="tiny", strategy="default", data=data), tmp_path / "config.yml")
    contents = {"step": 1, "splats": make_splats(count=1)}
    save_checkpoint(checkpoint_path(tmp_path, 1), contents)
    model = open_model(tmp_path)
    assert model.scene is not None
    poses = np.stack([view.cam_from_world for view in model.scene.views])
    assert model.up == tuple(mean_up(poses)) and model.up[2] > 0.5


def test_a_run_is_cut_off_where_it_was_in_training(tmp_path: Path) -> None:
    assert open_model(make_run(tmp_path / "found", 1)).settings.near_plane == 0.04
    before = make_run(tmp_path / "before", 1, found=None, near_plane=0.3)
    assert open_model(before).settings.near_plane == 0.3
    first = make_run(tmp_path / "first", 1, found=None)
    text = (first / "config.yml").read_text().replace("format: 2\n", "")
    (first / "config.yml").write_text(text.replace("  near_plane: null\n", ""))
    assert open_model(first).settings.near_plane == 0.01


@pytest.mark.parametrize("antialiased", [False, True])
def test_a_ply_gives_what_it_holds(tmp_path: Path, antialiased: bool) -> None:
    splats, path = make_splats(count=20, sh_degree=2), tmp_path / "model.ply"
    save_ply(path, splats, antialiased=antialiased)
    model = open_model(path)
    assert model.settings.antialiased is antialiased and model.up == COLMAP_UP
    assert model.scene is None and model.no_scene is None
    for name, value in splats.items():
        torch.testing.assert_close(model.splats[name], value)


@pytest.mark.parametrize(
    ("option", "value"), [("step", 5), ("data_root", Path("data"))], ids=["step", "data_root"]
)
def test_an_option_of_runs_is_refused_for_a_ply(tmp_path: Path, option: str, value) -> None:
    save_ply(tmp_path / "model.ply", make_splats(count=3))
    with pytest.raises(ConfigError, match=f"--{option.replace('_', '-')} says something about a"):
        open_model(tmp_path / "model.ply", **{option: value})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("elsewhere", "there is no such folder or file"),
        ("empty", "no config.yml; give the folder that gs-train wrote"),
        ("untrained", "no checkpoints/step_*.pt"),
        ("notes.txt", "no file of a model; known formats: ply"),
    ],
)
def test_nothing_to_show(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    make_run(tmp_path / "untrained")
    (tmp_path / "notes.txt").write_text("nothing\n")
    with pytest.raises(GsDensifyError, match=re.escape(message)) as refused:
        open_model(tmp_path / name)
    assert str(tmp_path / name) in str(refused.value)


def test_a_step_that_was_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match=r"step_000009.pt: there is no such checkpoint"):
        open_model(make_run(tmp_path / "run", 7), step=9)


def _scene(view) -> Scene:
    return Scene(
        "s", Path(), "images", 1, (view,), 0, np.ones((3, 3), np.float32),
        np.zeros((3, 3), np.uint8), np.eye(4), 0,
    )  # fmt: skip


def test_starts_at_the_first_training_view_and_turns_about_a_point_in_front_of_it() -> None:
    view = make_view(np.eye(3), np.array([0.0, 0.0, -4.0]), 50.0, 50.0, (60, 40))
    model = Model("m", make_splats(), False, NORMALIZED_UP, _scene(view))
    start = starting_point(model)
    assert start.position == (0.0, 0.0, -4.0)
    x, y, z = start.look_at
    assert (x, y) == (0.0, 0.0) and abs(z) < 0.5  # the middle of the Gaussians is near 0


@pytest.mark.parametrize("up", [NORMALIZED_UP, COLMAP_UP])
@pytest.mark.parametrize("count", [1, 200])
def test_starts_beside_and_above_a_model_without_cameras(up, count: int) -> None:
    splats = make_splats(count=count)
    start = starting_point(Model("m", splats, False, up))
    offset = np.subtract(start.position, start.look_at)
    assert 0 < offset @ up < 0.5 * np.linalg.norm(offset)
    distances = np.linalg.norm(splats["means"].numpy() - start.look_at, axis=1)
    assert np.median(distances) < np.linalg.norm(offset) < 10
