"""A capture as people bring them: a lens, masks, a photo gone, others renamed, no small copies."""

import json
import shutil
from pathlib import Path

import numpy as np
import pycolmap
from commands import SMOKE, run
from PIL import Image


def _make_capture(scene: Path) -> None:
    model = pycolmap.Reconstruction(scene / "sparse/0")
    for camera in model.cameras.values():
        camera.model = pycolmap.CameraModelId.OPENCV
        camera.params = [*camera.params[:4], 0.05, 0.01, 0.0, 0.0]
    model.write_binary(scene / "sparse/0")
    mask = np.full((64, 96), 255, np.uint8)
    mask[:20] = 0
    (scene / "masks").mkdir()
    for index in range(32):
        Image.fromarray(mask).save(scene / f"masks/{index:03d}.png")
    (scene / "images/007.png").unlink()
    (scene / "images/008.png").rename(scene / "images/008.PNG")


def test_such_a_capture_trains(tiny: Path, tmp_path: Path) -> None:
    scene = tmp_path / "scene"
    shutil.copytree(tiny, scene)
    _make_capture(scene)
    before = {path: path.stat().st_mtime_ns for path in scene.rglob("*")}
    options = ["--downscale", 2, "--data.skip-missing", "--data.resize-filter", "area"]
    done = run(
        *["gs-train", "--scene", scene, "--out", "out", *SMOKE, *options],
        cwd=tmp_path,
        GS_CACHE=str(tmp_path / "cache"),
    )
    assert done.returncode == 0, done.stderr
    for said in (
        "1 of 32 photos differ from COLMAP's names in case or suffix, first '008.PNG'",
        "lacks 1 of the 32 photos",
        "masks of 31 and alpha channels of 0 of 31 photos",
        "images resized to 48x32 (area filter), 31 photos undistorted (OPENCV); kept in",
    ):
        assert said in done.stderr
    assert len(list((tmp_path / "cache").rglob("*.png"))) == 31
    assert {path: path.stat().st_mtime_ns for path in scene.rglob("*")} == before
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert results["protocol"]["n_train"] + results["protocol"]["n_test"] == 31
    assert results["scores"]["psnr"] > 8
    again = run("gs-eval", tmp_path / "out", cwd=tmp_path, GS_CACHE=str(tmp_path / "cache"))
    assert again.returncode == 0 and "equal" in again.stdout + again.stderr, again.stderr
    assert "undistorted" not in again.stderr, "they are kept"


def _make_foreign(scene: Path) -> None:
    """Make a data set as it comes from another computer: other folders, paths and suffixes."""
    model = pycolmap.Reconstruction(scene / "sparse/0")
    shutil.rmtree(scene / "sparse")
    (scene / "masks").mkdir()
    white = Image.new("L", (96, 64), 255)
    for image in model.images.values():
        name = image.name
        image.name = "C:\\Users\\me\\house\\images\\" + name.replace(".png", ".HEIC")
        white.save(scene / f"masks/{name}.mask.png")
    (scene / "colmap/sparse/0").mkdir(parents=True)
    model.write_binary(scene / "colmap/sparse/0")
    shutil.copytree(scene / "colmap/sparse/0", scene / "colmap/sparse/1")
    (scene / "images/._000.png").write_bytes(b"\0\5\x16\7")


def test_a_capture_from_another_computer_trains_as_at_home(
    tiny: Path, finished_run: Path, tmp_path: Path
) -> None:
    scene = tmp_path / "scene"
    shutil.copytree(tiny, scene)
    _make_foreign(scene)
    chosen = scene / "colmap/sparse/1"
    options = ["--init.opacity", 0.1, "--init.scale", 1, "--evaluation.steps", 20]
    done = run(
        *("gs-train", "--scene", chosen, "--out", "out", *SMOKE, *options),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    said = "32 of 32 photos are found by the end of COLMAP's path, first '000.png' for"
    assert f"{said} 'C/Users/me/house/images/000.HEIC'" in done.stderr
    assert "masks of 32 and alpha channels of 0 of 32 photos" in done.stderr
    ours = json.loads((tmp_path / "out/results.json").read_text())
    home = json.loads((finished_run / "results.json").read_text())
    assert ours["scores"] == home["scores"], "the same photos, poses, split and masks"
    checked = run("gs-scene", "check", chosen, cwd=tmp_path)
    assert "32 in colmap/sparse/1; 0 photos without a pose, 0 missing on disk" in checked.stdout, (
        checked
    )
