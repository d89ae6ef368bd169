"""The files in other trainers' layouts that a run leaves."""

import json
import shutil
from pathlib import Path

import numpy as np
import pycolmap
import pytest

from gs_densify.results import EvaluationRecord, Scores, load_per_view, load_results
from gs_densify.results.compat import gsplat_stats, inria_results
from gs_densify.viewer.model import open_model


def read(path: Path) -> object:
    return json.loads(path.read_text())


def test_gsplats_statistics_lie_under_its_names(finished_run: Path) -> None:
    results = load_results(finished_run / "results.json")
    stats = finished_run / "compat/gsplat/stats"
    assert sorted(file.name for file in stats.iterdir()) == [
        "val_step0019.json",
        "val_step0039.json",
    ]
    for record, name in zip(results.evaluations, sorted(stats.iterdir()), strict=True):
        found = read(name)
        assert list(found) == ["psnr", "ssim", "lpips", "ellipse_time", "num_GS"]
        assert (found["psnr"], found["ssim"]) == (record.scores["psnr"], record.scores["ssim"])
        assert (found["lpips"], found["num_GS"]) == (None, record.num_gaussians)
        assert 0 < found["ellipse_time"] < 10
        assert "\n" not in name.read_text()


def test_inrias_results_lie_under_its_names(finished_run: Path) -> None:
    results = load_results(finished_run / "results.json")
    views = load_per_view(finished_run / "per_view.json").views
    found = read(finished_run / "compat/inria/results.json")
    assert list(found) == ["ours_20", "ours_40"]
    scores = results.scores
    assert found["ours_40"] == {"SSIM": scores["ssim"], "PSNR": scores["psnr"], "LPIPS": None}
    assert list(found["ours_40"]) == ["SSIM", "PSNR", "LPIPS"]
    per_view = read(finished_run / "compat/inria/per_view.json")
    assert list(per_view) == ["ours_40"]
    assert per_view["ours_40"]["PSNR"] == {view.name: view.scores["psnr"] for view in views}
    assert per_view["ours_40"]["SSIM"] == {view.name: view.scores["ssim"] for view in views}
    protocol = read(finished_run / "compat/protocol.json")
    assert protocol == read(finished_run / "results.json")["protocol"]


def test_each_layout_has_the_lpips_of_its_own_trainer() -> None:
    scores = Scores(psnr=1.0, ssim=0.5, lpips_alex=0.1, lpips_vgg=0.2, lpips_vgg_01=0.3)
    record = EvaluationRecord(
        step=30_000, scores=scores, num_gaussians=7, train_seconds=1.0, render_seconds=0.25
    )
    assert gsplat_stats(record) == {
        "psnr": 1.0,
        "ssim": 0.5,
        "lpips": 0.1,
        "ellipse_time": 0.25,
        "num_GS": 7,
    }
    assert inria_results([record]) == {"ours_30000": {"SSIM": 0.5, "PSNR": 1.0, "LPIPS": 0.3}}


def test_the_ply_alone_opens_as_upright_as_beside_its_cameras(
    finished_run: Path, tmp_path: Path
) -> None:
    alone = shutil.copy(finished_run / "point_cloud.ply", tmp_path)
    upright, own = open_model(finished_run / "point_cloud.ply"), open_model(Path(alone))
    assert upright.shots and not own.shots
    np.testing.assert_allclose(own.up, upright.up, atol=1e-4)


def test_the_cameras_are_those_of_colmap(finished_run: Path, tiny: Path) -> None:
    cameras = read(finished_run / "compat/inria/cameras.json")
    model = pycolmap.Reconstruction(tiny / "sparse/0")
    images = {image.name: image for image in model.images.values()}
    assert sorted(camera["img_name"] for camera in cameras) == sorted(images)
    assert [camera["id"] for camera in cameras] == list(range(len(images)))
    tests = load_results(finished_run / "results.json").protocol.test_images
    assert [camera["img_name"] for camera in cameras[: len(tests)]] == tests
    for camera in cameras:
        assert list(camera) == [
            *("id", "img_name", "width", "height", "position", "rotation", "fy", "fx")
        ]
        image = images[camera["img_name"]]
        pose = image.cam_from_world() if callable(image.cam_from_world) else image.cam_from_world
        rotation = pose.rotation.matrix()
        np.testing.assert_allclose(camera["rotation"], rotation.T, atol=1e-9)
        np.testing.assert_allclose(camera["position"], -rotation.T @ pose.translation, atol=1e-9)
        intrinsics = model.cameras[image.camera_id].calibration_matrix()
        assert camera["fx"] == pytest.approx(intrinsics[0, 0])
        assert (camera["width"], camera["height"]) == (96, 64)
