"""A run knows its scene from every folder, by its place and by its content."""

import shutil
from pathlib import Path

import pycolmap
import pytest
import torch
import yaml
from commands import SMOKE

from gs_densify.cli.eval import command as gs_eval
from gs_densify.cli.train import command as gs_train
from gs_densify.errors import ConfigError, SceneError
from gs_densify.results import load_evaluation, load_results
from gs_densify.viewer.model import open_model

CPU = ["--device", "cpu", "--lpips"]


def _other_poses(scene: Path) -> None:
    model = pycolmap.Reconstruction(scene / "sparse/0")
    turn = pycolmap.Sim3d(1.0, pycolmap.Rotation3d(), [0.0, 0.0, 1.0])
    model.transform(turn)
    model.write_binary(scene / "sparse/0")


@pytest.fixture(scope="module")
def here(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a scene and a run that was told of it by a relative path."""
    folder = tmp_path_factory.mktemp("here")
    shutil.copytree(tiny, folder / "scene")
    options = ["--evaluation.steps", "2", "--lpips-weights", "weights"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        gs_train(["--scene", "scene", "--out", "run", *SMOKE, "--steps", "4", *options])
    return folder


@pytest.fixture
def moved(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a copy of the run whose scene has moved there, and the former place of it."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(here / "scene", "moved")
    shutil.copytree(here / "run", "run")
    config = Path("run/config.yml")
    config.write_text(config.read_text().replace(str(here / "scene"), str(tmp_path / "scene")))
    return tmp_path


def test_a_run_finds_its_scene_from_another_folder(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = load_results(here / "run/results.json")
    shutil.copytree(here / "scene", tmp_path / "scene")
    _other_poses(tmp_path / "scene")
    monkeypatch.chdir(tmp_path)
    gs_eval([str(here / "run"), *CPU, "--out", "a"])
    assert f"scored on the scene in {here / 'scene'}\n" in capsys.readouterr().err
    found = load_evaluation(Path("a/evaluation.json"))
    assert found.scores == stored.scores
    assert found.config["scene"] == str(here / "scene")
    assert found.config["evaluation"]["lpips_weights"] == str(here / "weights")
    model = open_model(here / "run")
    assert {shot.view and shot.view.path.parent.parent for shot in model.shots} == {here / "scene"}
    gs_train(["--config", str(here / "run/config.yml"), "--out", "again"])
    again = load_results(Path("again/results.json"))
    assert (again.scores, again.data) == (stored.scores, stored.data)


def test_data_that_moved_are_named_anew(moved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored = load_results(Path("run/results.json"))
    gone = r"scene, where there is none now; .* with --scene"
    with pytest.raises(ConfigError, match=gone):
        gs_eval(["run", *CPU])
    gs_eval(["run", "--scene", "moved", *CPU, "--out", "e"])
    found = load_evaluation(Path("e/evaluation.json"))
    assert (found.scores, found.scene) == (stored.scores, "scene")
    Path("run/results.json").unlink()
    Path("run/checkpoints/step_000004.pt").unlink()
    with pytest.raises(ConfigError, match=gone):
        gs_train(["--resume", "run"])
    with pytest.raises(ConfigError, match="leave out --steps"):
        gs_train(["--resume", "run", "--scene", "moved", "--steps", "50"])
    gs_train(["--resume", "run", "--scene", "moved"])
    resumed = load_results(Path("run/results.json"))
    assert (resumed.scores, resumed.scene) == (stored.scores, "scene")
    assert f"goes on after step 2, with the scene in {moved / 'moved'}" in capsys.readouterr().err


def test_data_of_other_content_are_refused(moved: Path) -> None:
    _other_poses(Path("moved"))
    Path("moved").rename("scene")  # where the run remembers its own
    said = "scene has another COLMAP model than the run was trained on"
    for options in ([], ["--scene", "scene"]):
        with pytest.raises(SceneError, match=said):
            gs_eval(["run", *options, *CPU])
    model = open_model(Path("run"))
    assert not any(shot.view for shot in model.shots) and said in model.remarks[0]
    Path("run/results.json").unlink()
    with pytest.raises(SceneError, match=said):
        gs_train(["--resume", "run"])
    gs_eval(["run/point_cloud.ply", "--scene", "scene", *CPU])


def test_runs_that_do_not_know_their_scene_are_scored_as_before(moved: Path) -> None:
    checkpoint = Path("run/checkpoints/step_000004.pt")
    contents = torch.load(checkpoint, weights_only=True)
    for name in ("scene", "cameras"):
        assert contents["run"]["found"].pop(name)
    torch.save(contents, checkpoint)
    config = yaml.safe_load(Path("run/config.yml").read_text())
    assert config["scene"] == str(moved / "scene")
    Path("run/config.yml").write_text(yaml.safe_dump({**config, "scene": "moved"}))
    gs_eval(["run", *CPU, "--out", "e"])
    found = load_evaluation(Path("e/evaluation.json"))
    assert found.scores == load_results(Path("run/results.json")).scores


def test_home_is_meant_by_a_tilde(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    shutil.copytree(tiny, home / "scene")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path)
    Path("options.yml").write_text("scene: ~/scene\nout: ~/from_file\n")
    options = ["--config", "options.yml", *SMOKE, "--steps", "2"]
    gs_train(options)
    gs_train([*options, "--out=~/from_flag"])
    assert (home / "from_file/results.json").is_file()
    assert (home / "from_flag/results.json").is_file()
    assert not Path("~").exists()
    with pytest.raises(ConfigError, match=f"{home}/from_file holds another run"):
        gs_train(options)
