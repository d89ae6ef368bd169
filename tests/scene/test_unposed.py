"""What is no scene yet is recognised, and the advice can be followed."""

import json
import shlex
from pathlib import Path

import pytest
from PIL import Image

from gs_densify.cli import scene as gs_scene
from gs_densify.errors import GsDensifyError, SceneError
from gs_densify.scene.formats.base import read_scene_model
from gs_densify.scene.presets import resolve_scene


def refusal(path: Path) -> str:
    """What a command says of `--scene PATH`."""
    with pytest.raises(SceneError) as caught:
        read_scene_model(resolve_scene(str(path)).root)
    return str(caught.value)


def make_photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)


def make_transforms(path: Path, photo: str) -> None:
    path.write_text(json.dumps({"frames": [{"file_path": photo}]}))


@pytest.mark.parametrize("photo", ["a.jpg", "images/a.jpg", "input/a.jpg", "left/a.jpg"])
def test_photos(tmp_path: Path, photo: str) -> None:
    root = tmp_path / "my photos"
    make_photo(root / photo)
    line = refusal(root)
    assert line.startswith(f"{root} has photos and no COLMAP model; find poses")
    assert line.endswith(f"gs-scene reconstruct '{root}' --out '{root}-scene'")


def test_a_video_or_a_folder_with_one(tmp_path: Path) -> None:
    video = tmp_path / "garden walk" / "v.MOV"
    video.parent.mkdir()
    video.touch()
    out = tmp_path / "garden walk" / "v-scene"
    assert refusal(video).startswith(f"{video} is a video; ")
    assert refusal(video).endswith(f"gs-scene reconstruct '{video}' --out '{out}'")
    line = refusal(video.parent)
    assert line.startswith(f"{video.parent} has a video and no COLMAP model; ")
    assert line.endswith(f"gs-scene reconstruct '{video}' --out '{video.parent}-scene'")


@pytest.mark.parametrize(
    ("file", "kind", "photo", "folder"),
    [
        ("transforms_train.json", "Blender", "./train/r_0", "train"),
        ("transforms.json", "Nerfstudio", "images/frame_1.png", "images"),
    ],
)
def test_data_sets_of_others(tmp_path: Path, file: str, kind: str, photo: str, folder: str) -> None:
    root = tmp_path / "lego"
    make_photo(root / folder / "r_0.png")
    make_transforms(root / file, photo)
    line = refusal(root)
    assert line.startswith(f"{root} is a {kind} data set ({file}), whose poses are not read; ")
    assert line.endswith(f"gs-scene reconstruct {root / folder} --out {root}-scene")
    (root / file).write_text("{damaged")
    assert refusal(root).endswith(f"gs-scene reconstruct {root} --out {root}-scene")


def test_the_folder_of_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_photo(tmp_path / "house/a.jpg")
    monkeypatch.chdir(tmp_path / "house")
    with pytest.raises(SceneError, match=f"reconstruct . --out {tmp_path}/house-scene"):
        read_scene_model(Path("."))
    assert refusal(Path(".")).endswith(f"--out {tmp_path}/house-scene")


def test_nothing_that_is_known_names_the_command_all_the_same(tmp_path: Path) -> None:
    line = refusal(tmp_path)
    assert line.startswith("no COLMAP model in ")
    assert line.endswith("or make one with gs-scene reconstruct PHOTOS --out SCENE")


def test_an_unfinished_reconstruction(tmp_path: Path) -> None:
    (tmp_path / ".reconstruct").mkdir()
    stages = tmp_path / ".reconstruct/stages.json"
    stages.write_text(json.dumps({"source": "/my photos", "stages": {}}))
    make_photo(tmp_path / "images/a.jpg")
    line = refusal(tmp_path)
    assert "is a reconstruction that is not complete: it has no COLMAP model yet" in line
    assert line.endswith(f"go on with gs-scene reconstruct '/my photos' --out {tmp_path}")


def test_the_advice_is_a_command_that_is_understood(tmp_path: Path) -> None:
    make_photo(tmp_path / "my photos/a.jpg")
    program, *words = shlex.split(refusal(tmp_path / "my photos").partition("with ")[2])
    assert program == "gs-scene"
    with pytest.raises(SceneError, match="1 of 1 photos can be used; expected 3 at least"):
        gs_scene.command(words)
    assert [path.name for path in tmp_path.iterdir()] == ["my photos"], "nothing is left behind"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "nowhere is not there; name a folder of photos, or a video"),
        (["notes.txt"], "notes.txt is no video; name a folder of photos, or a video"),
        ([".", "--frames", "9"], "--frames has no effect: . is no video; leave it out"),
        (["v.mp4", "--frames", "2"], "--frames is 2; it must be at least 3"),
    ],
)
def test_what_cannot_be_reconstructed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("notes.txt", "v.mp4"):
        (tmp_path / name).touch()
    with pytest.raises(GsDensifyError) as caught:
        gs_scene.command(["reconstruct", *words, "--out", "scene"])
    assert str(caught.value) == said
    assert not (tmp_path / "scene").exists()
