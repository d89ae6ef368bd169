"""The report: what is planted is said, what gs-train refuses is measured as far as it goes."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from capture_scenes import FOCAL, HEIGHT, WIDTH, ring, texture, write_capture, write_photo
from PIL import Image
from scipy.ndimage import gaussian_filter

from gs_densify.capture.check import CheckOptions, check_capture
from gs_densify.capture.picture import save_picture
from gs_densify.capture.report import CaptureReport, Finding
from gs_densify.capture.text import report_text
from gs_densify.config.options import DataOptions
from gs_densify.errors import SceneError
from gs_densify.results import load_json, save_json
from gs_densify.scene.load import load_scene
from gs_densify.scene.presets import SceneSource
from gs_densify.strategies.methods.adaptive import AdaptiveStrategy

SHARED = Path(__file__).parents[3] / "shared" / "scenes"
OPTIONS = CheckOptions(gaussians=1_000_000, image_budget=2.0**34, progress=False)
AROUND = ring([*range(0, 360, 12)])


def check(root: Path, downscale: int = 1) -> CaptureReport:
    report, _ = check_capture(SceneSource("scene", root, downscale), OPTIONS)
    text = report_text(report)
    assert all(len(line) <= 100 or " " not in line.strip() for line in text.splitlines())
    assert text.splitlines()[-1].startswith(f"verdict: {report.verdict}")
    return report


def finding(report: CaptureReport, words: str) -> Finding:
    (found,) = [one for one in report.findings if words in one.text]
    assert found.action
    return found


@pytest.fixture
def around(tmp_path: Path) -> Path:
    return write_capture(tmp_path / "scene", AROUND, errors=[0.3] * len(AROUND))


def test_a_good_capture_is_fine(around: Path) -> None:
    report = check(around)
    assert report.verdict == "fine"
    assert {one.level for one in report.findings} <= {"note"}
    assert report.registered == 30 and report.sizes == {"160x120": 30}
    assert report.plan and (report.plan.train, report.plan.test) == (26, 4)
    assert report.points and report.points.seen_by_three == 1.0
    assert report.points.fewest_in_a_photo == report.points.median_in_a_photo == 1500
    assert report.without_pose == report.missing == ()


def test_what_is_planted_is_reported_with_its_photos(around: Path) -> None:
    images = around / "images"
    write_photo(images / "005.png", gaussian_filter(texture(5), 1.5))
    write_photo(images / "011.png", 0.4 * texture(11))
    write_photo(images / "extra/new.png", texture(77))
    report = check(around)
    assert report.verdict == "worth a look"
    assert finding(report, "less fine detail").photos == ("005.png",)
    assert finding(report, "brighter or darker").photos == ("011.png",)
    assert finding(report, "without a pose").photos == ("extra/new.png",)


def test_a_missing_and_a_broken_photo_stop_it(around: Path) -> None:
    (around / "images/003.png").unlink()
    path = around / "images/008.png"
    path.write_bytes(path.read_bytes()[:400])
    report = check(around)
    assert report.verdict == "will not train"
    assert report.missing == ("003.png",) and list(report.unreadable) == ["008.png"]
    assert "lacks 1 of the 30" in finding(report, "gs-train refuses").text
    assert finding(report, "cannot be used").photos == ("008.png",)
    assert report.coverage and report.plan


def test_smaller_photos_are_made_as_gs_train_makes_them(around: Path) -> None:
    source = SceneSource("scene", around, 2)
    with_factor, _ = check_capture(source, OPTIONS)
    assert with_factor.verdict == "fine" and with_factor.image_dir == "images"
    assert with_factor.plan and with_factor.plan.memory.photos == 26 * 80 * 60 * 3
    of_preset, _ = check_capture(replace(source, image_source="found"), OPTIONS)
    assert "images_2 does not exist" in finding(of_preset, "gs-train refuses").text
    write_photo(around / "images/000.png", texture(0, 4000, 3000))
    larger, _ = check_capture(source, OPTIONS)
    assert larger.plan and larger.plan.suggested_downscale == 4
    assert finding(larger, "above 1600")


def test_photos_count_under_the_names_that_gs_train_pairs_them_with(around: Path) -> None:
    images = around / "images"
    (images / "003.png").rename(images / "003.PNG")
    write_photo(images / "003.PNG", gaussian_filter(texture(3), 1.5))
    report = check(around)
    assert report.missing == report.without_pose == ()
    assert finding(report, "less fine detail").photos == ("003.png",)
    assert len(report.photos) == 30 and all(r.has_pose and r.sharpness for r in report.photos)
    (images / "008.png").unlink()  # also where gs-train refuses the rest
    report = check(around)
    assert report.missing == ("008.png",) and report.without_pose == ()


def test_masks_are_no_fault_and_take_memory(around: Path) -> None:
    path = around / "images/003.png"
    grey = Image.open(path).convert("L")
    Image.merge("LA", [grey, grey.point(lambda v: 255 * (v > 60))]).save(path)
    report = check(around)
    assert report.verdict == "fine" and not report.unreadable
    assert report.plan and report.plan.memory.photos == 26 * 160 * 120 * 4


def test_a_lens_is_said_to_be_undone_and_one_without_effect_is_a_pinhole(tmp_path: Path) -> None:
    pinhole = [FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2]
    root = write_capture(tmp_path / "a", AROUND, camera=("OPENCV", [*pinhole, -0.1, 0, 0, 0]))
    report = check(root)
    assert report.verdict == "fine" and not report.cameras[0].is_pinhole
    (size,) = load_scene(root, name="s").image_sizes
    assert report.plan and report.plan.memory.photos == 26 * size[0] * size[1] * 3
    assert size != (WIDTH, HEIGHT) and "which is undone" in " ".join(report_text(report).split())
    root = write_capture(tmp_path / "b", AROUND, camera=("OPENCV", [*pinhole, 0, 0, 0, 0]))
    assert check(root).cameras[0].is_pinhole


@pytest.mark.parametrize("damage", ["no model", "cut", "empty", "no images", "nothing"])
def test_what_gs_train_refuses_is_measured_as_far_as_it_goes(damage: str, around: Path) -> None:
    model = around / "sparse/0"
    if damage == "no model":
        shutil.rmtree(around / "sparse")
    elif damage == "cut":
        path = model / "images.bin"
        path.write_bytes(path.read_bytes()[:-9])
    elif damage == "empty":
        pycolmap.Reconstruction().write_binary(model)
    elif damage == "no images":
        shutil.rmtree(around / "images")
    else:
        shutil.rmtree(around)
        around.mkdir()
    report = check(around)
    assert report.verdict == "will not train" and finding(report, "gs-train refuses")
    has_photos, has_model = damage not in ("no images", "nothing"), damage == "no images"
    assert len([r for r in report.photos if r.sharpness is not None]) == 30 * has_photos
    assert (report.coverage is not None) == has_model
    assert (report.plan is not None) == (has_photos and damage != "empty")


def test_gaps_rough_photos_and_weak_ones_are_named(tmp_path: Path) -> None:
    poses = ring([*range(0, 270, 10)])
    errors = [0.3] * len(poses)
    errors[4] = 3.0
    report = check(write_capture(tmp_path / "s", poses, errors=errors))
    assert finding(report, "no photo over 1").photos == ("026.png", "000.png")
    assert finding(report, "reprojection error of more").photos == ("004.png",)


def test_one_spot_few_photos_few_points_and_far_neighbours(tmp_path: Path) -> None:
    poses = ring([0, 30, 60, 90])
    report = check(write_capture(tmp_path / "a", poses, points=np.eye(3) * 0.1, errors=[0.1] * 4))
    assert finding(report, "4 photos have a pose") and finding(report, "3 points")
    assert finding(report, "degrees apart") and finding(report, "fewer than 50 points")
    spot = np.tile(poses[0], (4, 1, 1))
    report = check(write_capture(tmp_path / "b", spot))
    assert finding(report, "from one spot") and finding(report, "keeps no observations")


def test_photos_close_together_for_what_they_show_are_the_first_finding(tmp_path: Path) -> None:
    report = check(write_capture(tmp_path / "near", ring(np.linspace(0, 4, 24).tolist())))
    assert report.findings[0].text.startswith("all photos were taken within 3% of the distance")
    report = check(write_capture(tmp_path / "apart", ring(np.linspace(0, 8, 24).tolist())))
    assert not [one for one in report.findings if "of the distance to what" in one.text]


def test_every_camera_model_gets_a_report(tmp_path: Path) -> None:
    for kind in ("OPENCV", "OPENCV_FISHEYE", "FOV", "THIN_PRISM_FISHEYE"):
        camera = pycolmap.Camera.create_from_model_name(1, kind, FOCAL, WIDTH, HEIGHT)
        report = check(write_capture(tmp_path / kind, AROUND, camera=(kind, camera.params)))
        assert [one.model for one in report.cameras] == [kind] and report.coverage


def test_large_photos_get_a_factor(tmp_path: Path) -> None:
    root = write_capture(tmp_path / "s", AROUND)
    for name in ("000", "001"):
        Image.new("L", (4000, 3000), 99).save(root / "images" / f"{name}.png")
    report = check(root)
    assert report.plan and report.plan.suggested_downscale == 4
    assert "--downscale 4" in finding(report, "above 1600").action
    assert report.plan.memory.photos == 3 * (25 * 160 * 120 + 4000 * 3000)
    shutil.copytree(root / "images", root / "images_4")
    for path in (root / "images_4").iterdir():
        Image.open(path).resize((40, 30)).save(path)
    smaller = check(root, downscale=4)
    assert smaller.plan and smaller.plan.suggested_downscale == 1
    with pytest.raises(SceneError, match="downscale is 0"):
        check(root, downscale=0)


def test_the_json_file_holds_the_whole_report(around: Path, tmp_path: Path) -> None:
    write_photo(around / "images/005.png", gaussian_filter(texture(5), 1.5))
    report = check(around)
    save_json(tmp_path / "report.json", report)
    values = load_json(tmp_path / "report.json")
    assert values["schema_version"] == 1 and values["verdict"] == report.verdict
    assert len(values["photos"]) == 30 and values["blurred"][0]["name"] == "005.png"
    assert values["coverage"]["see_middle"] == 30
    json.dumps(values, allow_nan=False)


def test_the_picture_shows_cameras_points_and_problems(around: Path, tmp_path: Path) -> None:
    _, geometry = check_capture(SceneSource("scene", around, 1), OPTIONS)
    assert geometry is not None
    pictures = []
    for problems in ([], ["004.png"]):
        save_picture(tmp_path / "p.png", geometry, "scene", problems)
        with Image.open(tmp_path / "p.png") as image:
            assert image.format == "PNG"
            pictures.append(np.asarray(image.convert("RGB")).astype(int)[120:])  # below the legend
    first, second = pictures
    is_red = [((p[..., 0] > 200) & (p[..., 1:] < 80).all(-1)) for p in pictures]
    is_blue = [((p[..., 2] > 150) & (p[..., 0] < 80)) for p in pictures]
    assert is_red[0].sum() == 0 < is_red[1].sum() < is_blue[1].sum() < is_blue[0].sum()
    is_point = (first[..., 0] > 150) & (first[..., 1] < 120) & ~is_red[0]
    half = first.shape[1] // 2
    assert is_point[:, :half].sum() > 300 and is_point[:, half:].sum() > 300
    assert (first != second).any(-1).mean() < 0.02


def test_the_estimate_assumes_the_defaults_of_training() -> None:
    from gs_densify.cli.scene import Check

    assert Check("scene").gaussians == AdaptiveStrategy().max_gaussians
    assert DataOptions().image_budget * 2**30 == OPTIONS.image_budget
    assert DataOptions().test_every == OPTIONS.test_every


def test_a_training_on_all_photos_is_planned_without_a_split(around: Path) -> None:
    source = SceneSource("scene", around, 1)
    report, _ = check_capture(source, replace(OPTIONS, test_every=0))
    assert report.plan and (report.plan.train, report.plan.test) == (30, 0)
    assert "30 photos to train on, 0 held out; suggested" in " ".join(report_text(report).split())
    split = " ".join(report_text(check(around)).split())
    assert "26 photos to train on, 4 held out (every 8th); suggested" in split


@pytest.mark.parametrize("name", ["bonsai", "fox", "fountain"])
def test_real_captures_have_no_false_alarm(name: str) -> None:
    if not (SHARED / name).is_dir():
        pytest.skip(f"no real captures: {SHARED.name}/{name} is not beside the repository")
    report = check(SHARED / name)
    assert report.blurred == report.badly_exposed == report.clipped == ()
    assert report.near_duplicates == () and report.without_pose == ()
    assert report.coverage and report.coverage.looking == "inwards"
    assert report.registered and report.coverage.see_middle > 0.95 * report.registered
