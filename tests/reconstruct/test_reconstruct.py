"""A whole reconstruction of six small photos, and what a second call of it keeps."""

import contextlib
import dataclasses
import os
import shutil
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from corner_photos import FOCAL, HEIGHT, WIDTH, take_photos
from PIL import Image

from gs_densify.cli import scene as gs_scene
from gs_densify.errors import SceneError
from gs_densify.reconstruct import run
from gs_densify.reconstruct.options import ReconstructOptions
from gs_densify.reconstruct.pairs import alike
from gs_densify.reconstruct.run import reconstruct
from gs_densify.scene.formats.base import read_scene_model
from gs_densify.scene.load import load_scene
from gs_densify.scene.presets import resolve_scene

OPTIONS = ReconstructOptions(camera_model="SIMPLE_PINHOLE")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `photos`, of which some are bad, and the `scene` made of them."""
    folder = tmp_path_factory.mktemp("made")
    first, *_ = take_photos(folder / "photos")
    (folder / "photos" / "broken.jpg").write_bytes(first.read_bytes()[:3000])
    shutil.copy(first, folder / "photos" / "00 (copy).jpg")
    blank = Image.new("RGB", (WIDTH, HEIGHT), (90, 90, 90))
    blank.save(folder / "photos" / "wall.jpg")
    with (folder / "said.txt").open("w") as said, contextlib.redirect_stderr(said):
        reconstruct(folder / "photos", folder / "scene", OPTIONS)
    return folder


def test_poses_are_those_that_the_photos_were_taken_from(made: Path) -> None:
    model = pycolmap.Reconstruction(made / "scene/sparse/0")
    images = sorted(model.images.values(), key=lambda image: image.name)
    images = [image for image in images if image.has_pose]
    assert [image.name for image in images] == [f"{i:02}.jpg" for i in range(6)]
    angles = np.linspace(0.45, 1.1, 6)
    true = np.stack(
        [4 * np.cos(angles), 4 * np.sin(angles), 1.6 + 0.4 * np.sin(5 * angles)], axis=1
    )
    found = np.array([image.projection_center() for image in images])
    moved = pycolmap.estimate_sim3d(found, true)
    assert np.abs([moved * one for one in found] - true).max() < 0.02
    (camera,) = model.cameras.values()
    assert abs(camera.focal_length - FOCAL) < 3


def test_what_it_makes_is_a_scene(made: Path) -> None:
    source = resolve_scene(str(made / "scene"))
    scene = load_scene(source.root, name="s", test_every=0)
    assert len(scene.views) == 6 and len(scene.points) > 300
    photo = made / "scene/images/03.jpg"
    assert os.path.samefile(photo, made / "photos/03.jpg"), "a hard link"


def test_photos_that_are_left_out_are_named_with_the_reason(made: Path) -> None:
    said = (made / "said.txt").read_text()
    assert "left out: 1 photo cannot be read (broken.jpg:" in said
    assert "left out: 1 photo has the same content as others (00 (copy).jpg); nothing to" in said
    assert "left out: 1 photo shows too little detail to be placed (wall.jpg); take sharp" in said
    assert "images/: 7 photos, 7 linked" in said


def test_a_second_call_keeps_what_is_complete(
    made: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for work in ("usable_photos", "extract_features", "match_pairs", "find_models"):
        monkeypatch.delattr(run, work)
    again = reconstruct(made / "photos", made / "scene", OPTIONS)
    assert again.posed == 6 and again.photos == 7
    assert "poses: complete already" in capsys.readouterr().err


def test_the_command_says_what_it_has_and_how_to_go_on(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = str(made / "scene")
    words = ["reconstruct", str(made / "photos"), "--out", scene]
    gs_scene.command([*words, "--camera-model", OPTIONS.camera_model])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("6 of 7 photos have a pose: 1 camera (SIMPLE_PINHOLE), ")
    assert any("1 photo on disk without a pose" in line for line in lines), "gs-scene check"
    assert lines[-2].startswith("verdict: worth a look; gs-train can start")
    assert lines[-1] == f"train with gs-train --scene {scene}"


def test_an_interrupted_call_goes_on_and_other_options_withdraw_the_model(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = tmp_path / "scene"
    shutil.copytree(made / "scene", scene)
    other = dataclasses.replace(OPTIONS, matching="sequential")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(run, "find_models", interrupted)
        reconstruct(made / "photos", scene, other)
    assert not (scene / "sparse").exists(), "half of the work is done"
    assert "matches: photos or options have changed: done anew" in capsys.readouterr().err
    with pytest.raises(SceneError, match=r"is not complete.*go on with gs-scene reconstruct"):
        read_scene_model(scene)
    monkeypatch.delattr(run, "match_pairs")
    assert reconstruct(made / "photos", scene, other).posed == 6
    assert (scene / "sparse/0/images.bin").is_file()


def test_photos_that_no_longer_suffice_leave_the_scene_alone(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "made")
    photos, scene = tmp_path / "made/photos", tmp_path / "made/scene"
    stages = scene / ".reconstruct/stages.json"
    stages.write_text(stages.read_text().replace(str(made), str(tmp_path / "made")))
    for photo in sorted(photos.iterdir())[2:]:
        photo.unlink()
    with pytest.raises(SceneError, match="1 of 2 photos can be used"):
        reconstruct(photos, scene, OPTIONS)
    assert (scene / "sparse/0/images.bin").is_file() and (scene / "images/03.jpg").is_file()


def test_photos_that_show_different_things_leave_no_scene(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for i in range(3):
        pixels = random.integers(0, 255, (15, 20, 3)).astype(np.uint8)
        noise = Image.fromarray(pixels).resize((160, 120), Image.Resampling.BICUBIC)
        noise.save(tmp_path / "photos" / f"{i}.png")
    with pytest.raises(SceneError, match="no poses can be found for the 3 photos; take photos"):
        reconstruct(tmp_path / "photos", tmp_path / "scene", OPTIONS)
    assert "left out: 3 photos have nothing in common with others" in capsys.readouterr().err
    assert not (tmp_path / "scene/sparse").exists()


def test_photos_that_look_alike_are_found_with_their_own_words(made: Path, tmp_path: Path) -> None:
    names = [f"{i:02}.jpg" for i in range(6)]
    database = Path(shutil.copy(made / "scene/.reconstruct/database.db", tmp_path))
    pairs = alike(names, 2, database, tmp_path / "words")
    assert all(first < second for first, second in pairs)
    assert 6 <= len(set(pairs)) < 15
    near = [abs(int(first[:2]) - int(second[:2])) for first, second in pairs]
    assert np.mean(near) < 2, "of all pairs it is 2.3"
