"""Whatever a user gets wrong ends in one line and exit code 2, and leaves files alone."""

import shutil
from pathlib import Path

import pycolmap
import pytest
import torch
from commands import SMOKE, refusal, run
from PIL import Image

from gs_densify.evaluation.lpips_weights import BACKBONES


@pytest.fixture
def scene(tiny: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "scene"
    shutil.copytree(tiny, copy)
    return copy


def _train(scene: object, folder: Path, *options: object):
    return run("gs-train", "--scene", scene, "--out", folder / "out", *SMOKE, *options, cwd=folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--scene", "garden"], "garden"),
        (["--scene", "garden", "--data-root", "nowhere"], "nowhere"),
        (["--scene", "no/such/folder"], "no/such/folder"),
        ([], "--scene is missing; name a preset (bicycle"),
        (["--scene", "tiny", "--strategy", "mcm"], "unknown strategy 'mcm'; did you mean mcmc?"),
        (["--scene", "tiny", "--strategy.growth", "1"], "--strategy.growth: no such option"),
        (["--scene", "tiny", "--stepz", "1"], "--stepz: no such option; did you mean --steps?"),
        (["--scene", "tiny", "--steps", "many"], "--steps is 'many'; expected a whole number"),
        (["--scene", "tiny", "--steps", "0"], "--steps is 0; it must be at least 1"),
        (["--scene", "tiny", "--config", "none.yml"], "none.yml: there is no such file"),
        (["--scene", "tiny", "--device", "tpu"], "--device is 'tpu'; expected auto, cuda or cpu"),
        (["--scene", "tiny", "--strategy.refine-every", "0"], "refine_every is 0"),
        (["--scene", "tiny", "--render.packed", "--device", "cpu"], "acked"),
        (
            ["--scene", "tiny", "--memory-limit", "8GB", "--device", "cpu"],
            "--memory-limit has no effect on the CPU",
        ),
        (
            ["--scene", "tiny", "--device", "cpu", "--dry-run", "--memory-limit", "20MB"],
            "--memory-limit is 20MB; 1,000 Gaussians with these photos need 0.12 GB",
        ),
        (
            ["--scene", "tiny", "--render.rasterizer", "opengl"],
            "--render.rasterizer is 'opengl'; known: auto, own, gsplat, reference",
        ),
        (
            ["--scene", "tiny", "--render.rasterizer", "gsplat", "--device", "cpu"],
            "'gsplat' runs on cuda, and the device is the cpu; expected auto or reference there",
        ),
    ],
)
def test_wrong_arguments(options: list[str], message: str, tmp_path: Path) -> None:
    assert message in refusal(run("gs-train", *options, cwd=tmp_path))


def test_damaged_weights_of_lpips_are_refused_before_training(scene: Path, tmp_path: Path) -> None:
    weights = {}
    for i, (channels_in, channels_out, size, *_) in BACKBONES["alexnet"].convolutions:
        weights[f"{i}.weight"] = torch.zeros(channels_out, channels_in, size, size)
        weights[f"{i}.bias"] = torch.full((channels_out,), float("nan"))
    torch.save(weights, tmp_path / BACKBONES["alexnet"].features_file)
    options = ("--evaluation.lpips", "lpips_alex", "--lpips-weights", tmp_path)
    message = refusal(_train(scene, tmp_path, *options))
    assert "alexnet_features.pth is damaged" in message and "not finite" in message
    assert not (tmp_path / "out").exists()


def test_no_gpu_is_said_in_words(tmp_path: Path) -> None:
    done = run(
        "gs-train", "--scene", "tiny", "--device", "cuda", cwd=tmp_path, CUDA_VISIBLE_DEVICES=""
    )
    assert "torch sees no CUDA GPU here" in refusal(done)


def test_another_run_is_never_written_over(finished_run: Path, tiny: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished_run.rglob("*")}
    done = run("gs-train", "--scene", tiny, "--out", finished_run, *SMOKE, cwd=finished_run.parent)
    assert "holds another run already; nothing was changed" in refusal(done)
    assert {path: path.stat().st_mtime_ns for path in finished_run.rglob("*")} == before


def test_no_sparse_model(scene: Path, tmp_path: Path) -> None:
    shutil.rmtree(scene / "sparse")
    assert "sparse" in refusal(_train(scene, tmp_path))


def test_truncated_model(scene: Path, tmp_path: Path) -> None:
    path = scene / "sparse/0/images.bin"
    path.write_bytes(path.read_bytes()[:-7])
    assert "images.bin" in refusal(_train(scene, tmp_path))
    assert not (tmp_path / "out").exists()


def test_missing_photo(scene: Path, tmp_path: Path) -> None:
    (scene / "images/005.png").unlink()
    line = refusal(_train(scene, tmp_path))
    assert "005.png" in line and "32" in line


def test_unreadable_photo(scene: Path, tmp_path: Path) -> None:
    path = scene / "images/005.png"
    path.write_bytes(path.read_bytes()[:300])
    assert "005.png" in refusal(_train(scene, tmp_path))


def test_size_that_does_not_match(scene: Path, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(scene / "images/005.png")
    line = refusal(_train(scene, tmp_path))
    assert "64x64" in line and "96x64" in line


def test_missing_downscaled_folder(scene: Path, tmp_path: Path) -> None:
    line = refusal(_train(scene, tmp_path, "--downscale", 4, "--data.image-source", "found"))
    assert "images_4" in line and "--downscale 1" in line


def test_unsupported_camera_model(scene: Path, tmp_path: Path) -> None:
    model = pycolmap.Reconstruction(scene / "sparse/0")
    for camera in model.cameras.values():
        camera.model = pycolmap.CameraModelId.EQUIRECTANGULAR
        camera.params = [camera.width, camera.height]
    model.write_binary(scene / "sparse/0")
    line = refusal(_train(scene, tmp_path))
    assert "EQUIRECTANGULAR (1 camera, 32 images)" in line


def test_a_data_option_without_an_effect(scene: Path, tmp_path: Path) -> None:
    line = refusal(_train(scene, tmp_path, "--data.resize-filter", "area"))
    assert "--data.resize-filter area has no effect" in line


def test_zero_points(scene: Path, tmp_path: Path) -> None:
    model = pycolmap.Reconstruction(scene / "sparse/0")
    for identifier in list(model.points3D):
        model.delete_point3D(identifier)
    model.write_binary(scene / "sparse/0")
    assert "0 points" in refusal(_train(scene, tmp_path))


def test_split_without_training_views(scene: Path, tmp_path: Path) -> None:
    model = pycolmap.Reconstruction(scene / "sparse/0")
    for identifier in sorted(model.reg_image_ids())[1:]:
        model.deregister_frame(model.image(identifier).frame_id)
    model.write_binary(scene / "sparse/0")
    assert "train" in refusal(_train(scene, tmp_path))


@pytest.mark.parametrize("damage", ["nothing", "config", "checkpoint", "half a checkpoint"])
def test_gs_eval_of_something_else(damage: str, finished_run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(finished_run, copy)
    last = copy / "checkpoints/step_000040.pt"
    if damage == "nothing":
        copy = tmp_path / "elsewhere"
    elif damage == "config":
        (copy / "config.yml").unlink()
    elif damage == "checkpoint":
        shutil.rmtree(copy / "checkpoints")
    else:
        last.write_bytes(last.read_bytes()[:1000])
    assert str(copy) in refusal(run("gs-eval", copy, cwd=tmp_path))


def test_gs_scene_refuses_a_folder_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    assert str(tmp_path) in refusal(run("gs-scene", "make-tiny", tmp_path, cwd=tmp_path))
    assert (tmp_path / "mine.txt").read_text() == "keep"
