"""Data sets whose parts contradict each other, as commands see them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from commands import SMOKE, refusal, run
from PIL import Image


@pytest.fixture
def scene(tiny: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny, tmp_path / "scene")
    return tmp_path / "scene"


def findings(stdout: str) -> list[str]:
    """The findings of a report, each in one line."""
    lines = stdout.split("\n\n")[-2].splitlines()
    text = "\n".join(lines).replace("\n      ", " ")
    return text.splitlines()


def leave_frames(scene: Path) -> None:
    """Move cameras and points as a program does that does not know of frames."""
    model = pycolmap.Reconstruction(scene / "sparse/0")
    turn = pycolmap.Rotation3d(np.array([0.1, 0.2, 0.3, 0.9]))
    model.transform(pycolmap.Sim3d(5.0, turn, np.array([10.0, -4.0, 7.0])))
    before = (scene / "sparse/0/frames.bin").read_bytes()
    model.write_binary(scene / "sparse/0")
    (scene / "sparse/0/frames.bin").write_bytes(before)


def test_frames_that_were_left_are_named_first_and_nothing_is_begun(
    scene: Path, tmp_path: Path
) -> None:
    leave_frames(scene)
    done = run("gs-scene", "check", scene, cwd=tmp_path)
    assert "place 32 of 32 photos differently" in refusal(done)
    first = findings(done.stdout)[0]
    assert first.startswith("STOP") and "frames.bin and images.bin" in first
    assert "the points fit images: remove rigs.bin and frames.bin" in first
    trained = run("gs-train", "--scene", scene, "--out", "out", *SMOKE, cwd=tmp_path)
    assert "the points fit images" in refusal(trained)
    assert not (tmp_path / "out").exists()


def test_turned_photos_are_named_first_and_training_does_not_begin(
    scene: Path, tmp_path: Path
) -> None:
    for path in (scene / "images").iterdir():
        with Image.open(path) as photo:
            photo.transpose(Image.Transpose.ROTATE_180).save(path)
    done = run("gs-scene", "check", scene, cwd=tmp_path)
    assert "the photos seem to be turned by 180 degrees" in refusal(done)
    first = findings(done.stdout)[0]
    assert first.startswith("STOP") and "turn their pixels back" in first
    trained = run("gs-train", "--scene", scene, "--out", "out", *SMOKE, cwd=tmp_path)
    assert "the photos seem to be turned by 180 degrees" in refusal(trained)


def test_points_of_another_scale_are_named_first_and_training_warns(
    scene: Path, tmp_path: Path
) -> None:
    model = pycolmap.Reconstruction(scene / "sparse/0")
    for point in model.points3D.values():
        point.xyz = 0.5 * point.xyz
    model.write_binary(scene / "sparse/0")
    done = run("gs-scene", "check", scene, "--json", "report.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first = findings(done.stdout)[0]
    assert first.startswith("LOOK") and "do not show the colours of the points" in first
    found = json.loads((tmp_path / "report.json").read_text())["findings"][0]
    assert found["level"] == "look" and "one reconstruction" in found["action"]
    few = "--steps 2 --evaluation.lpips --device cpu".split()
    trained = run("gs-train", "--scene", scene, "--out", "out", *few, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert "do not show the colours of the points" in trained.stderr
