"""What gs-view opens, and what it says where there is nothing to open."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_paint import make_splats

from gs_densify.config.file import save_config
from gs_densify.config.options import DataOptions, RenderOptions, TrainConfig
from gs_densify.errors import ConfigError, GsDensifyError, ResultError, SceneError
from gs_densify.model.files.ply import save_ply
from gs_densify.runs.checkpoint import save_checkpoint
from gs_densify.runs.checkpoint_files import checkpoint_path
from gs_densify.runs.loaded_scene import find_scene
from gs_densify.scene.export_cameras import inria_cameras
from gs_densify.scene.normalize import World, transform_points
from gs_densify.viewer.model import open_model
from gs_densify.viewer.shots import cameras_beside
from gs_densify.viewer.start import COLMAP_UP, Z_UP


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
    assert latest.shots == () and "no/such/place" in latest.remarks[0]


@pytest.mark.parametrize("antialiased", [False, True])
def test_a_run_knows_how_it_was_rendered_and_where_up_is(tmp_path: Path, antialiased) -> None:
    model = open_model(make_run(tmp_path / "a", 1, antialiased=antialiased))
    assert model.settings.antialiased is antialiased and model.up == Z_UP
    assert open_model(make_run(tmp_path / "b", 1, normalize="none")).up == COLMAP_UP


def test_in_every_world_up_is_where_the_photos_say(tmp_path: Path) -> None:
    """The tiny scene's up is COLMAP's z; what its cameras' own ups have as their mean is not."""
    for world in ("focus", "cameras", "none"):
        config = TrainConfig(scene="tiny", data=DataOptions(normalize=world))
        save_config(config, (folder := tmp_path / world) / "config.yml")
        contents = {"step": 1, "splats": make_splats(count=1)}
        save_checkpoint(checkpoint_path(folder, 1), contents)
        model = open_model(folder)
        similarity = find_scene(config).normalized_from_colmap
        vertical = similarity[:3, 2] / np.linalg.norm(similarity[:3, 2])
        assert np.degrees(np.arccos(vertical @ model.up)) < 2
        assert {shot.kind for shot in model.shots} == {"training", "held out"}


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
    assert model.settings.antialiased is antialiased
    assert model.shots == () and model.remarks == ()
    for name, value in splats.items():
        torch.testing.assert_close(model.splats[name], value)


@pytest.mark.parametrize(
    ("option", "value"), [("step", 5), ("data_root", Path("data"))], ids=["step", "data_root"]
)
def test_an_option_of_runs_is_refused_for_a_ply(tmp_path: Path, option: str, value) -> None:
    save_ply(tmp_path / "model.ply", make_splats(count=3))
    with pytest.raises(
        ConfigError, match=f"--{option.replace('_', '-')} says something about a run"
    ):
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


def test_cameras_beside_a_file_say_where_up_is_and_where_to_look_from(tmp_path: Path) -> None:
    scene = find_scene(TrainConfig(scene="tiny"))
    for place in ("compat/inria/cameras.json", "cameras.json"):
        folder = tmp_path / place.partition(".")[0]
        (folder / place).parent.mkdir(parents=True)
        (folder / place).write_text(json.dumps(inria_cameras(scene)))
        save_ply(folder / "model.ply", make_splats())
        model = open_model(folder / "model.ply")
        assert len(model.shots) == len(scene.views)
        assert np.degrees(np.arccos(model.up[2])) < 2
        assert model.start.position in [shot.camera.position for shot in model.shots]


def test_a_file_of_ours_says_where_up_is(tmp_path: Path) -> None:
    splats = make_splats()
    save_ply(tmp_path / "foreign.ply", splats)
    save_ply(tmp_path / "model.ply", splats, up=np.array([0.6, 0.0, -0.8]))
    assert open_model(tmp_path / "foreign.ply").up in (COLMAP_UP, Z_UP)
    model = open_model(tmp_path / "model.ply")
    np.testing.assert_allclose(model.up, [0.6, 0, -0.8], atol=1e-6)
    ahead = np.subtract(model.start.position, model.start.look_at)
    assert ahead @ np.array(model.up) > 0, "the first look is from above"


def test_inrias_folders_have_their_cameras_above(tmp_path: Path) -> None:
    path = tmp_path / "out/point_cloud/iteration_7000/point_cloud.ply"
    save_ply(path, make_splats())
    cameras = tmp_path / "out/cameras.json"
    cameras.write_text(json.dumps(inria_cameras(find_scene(TrainConfig(scene="tiny")))))
    assert cameras_beside(path) == cameras
    assert cameras_beside(tmp_path / "elsewhere/iteration_7000/point_cloud.ply") is None


def test_the_scene_that_is_named_gives_photos_to_a_file(tmp_path: Path) -> None:
    """The file is taken to the world of the scene: what the cameras see stays the same."""
    scene = find_scene(TrainConfig(scene="tiny"))
    splats = make_splats(count=5)
    save_ply(tmp_path / "model.ply", splats)
    model = open_model(tmp_path / "model.ply", scene="tiny")
    assert [shot.view is not None for shot in model.shots] == [True] * len(scene.views)
    expected = transform_points(scene.normalized_from_colmap, splats["means"].double().numpy())
    np.testing.assert_allclose(model.splats["means"].numpy(), expected, atol=1e-5)
    with pytest.raises(SceneError, match="no/such/scene"):
        open_model(tmp_path / "model.ply", scene="no/such/scene")


def test_a_file_in_a_local_frame_says_so(tmp_path: Path) -> None:
    save_ply(tmp_path / "model.ply", make_splats(), comments=["Offset: 500000 4500000 100"])
    (remark,) = open_model(tmp_path / "model.ply").remarks
    assert remark == (
        "model.ply is shown in its local frame: its positions are those of the scene less"
        " (500000, 4.5e+06, 100)"
    )
