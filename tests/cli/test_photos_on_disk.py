"""Runs whose photos stay on the disk: the same to the last bit, in less memory, within bounds."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import SMOKE, run
from PIL import Image

from gs_densify.results import load_results

ON_DISK = ("--data.host-budget", 0)
SHORT = (*SMOKE, "--steps", 12, "--log-every", 3, "--render.coarse-until", 0.5)


@pytest.fixture(scope="module")
def scene(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny scene with masks, one of which lets nothing count."""
    folder = tmp_path_factory.mktemp("masked") / "scene"
    shutil.copytree(tiny, folder)
    (folder / "masks").mkdir()
    mask = np.full((64, 96), 255, np.uint8)
    mask[:20, :50] = 0
    for index in range(0, 32, 3):
        Image.fromarray(mask * (index != 9)).save(folder / f"masks/{index:03d}.png")
    return folder


def figures(folder: Path) -> tuple[Any, ...]:
    """What of a run does not depend on the clock."""
    results = json.loads((folder / "results.json").read_text())
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return (
        *(results[name] for name in ("scores", "counts", "data")),
        results["protocol"]["test_images"],
        [(one["step"], one["loss"], one["num_gaussians"]) for one in rows],
        json.loads((folder / "per_view.json").read_text())["views"],
        (folder / "point_cloud.ply").read_bytes(),
    )


def test_a_run_is_the_same_wherever_photos_are_and_resumes(scene: Path, tmp_path: Path) -> None:
    whole = run("gs-train", "--scene", scene, "--out", "memory", *SHORT, cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    cache = str(tmp_path / "cache")
    stops = ("--evaluation.steps", 6)
    options = ("--scene", scene, "--out", "disk", *SHORT, *stops, *ON_DISK)
    done = run("gs-train", *options, cwd=tmp_path, GS_CACHE=cache)
    assert done.returncode == 0, done.stderr
    (file,) = Path(cache).rglob("*.pixels")
    assert "32 photos (" in done.stderr and f"read from {file} while they are used" in done.stderr
    assert "s of training, steps waited for photos from the disk " in done.stderr
    assert figures(tmp_path / "memory") == figures(tmp_path / "disk")
    wall = [load_results(tmp_path / name / "results.json").wall_time for name in ("memory", "disk")]
    assert wall[0].photos is None and 0 < (wall[1].photos or 0) < wall[1].train
    # From step 6, with another cache: all is made anew.
    before = figures(tmp_path / "disk")
    for name in ("results.json", "checkpoints/step_000012.pt"):
        (tmp_path / "disk" / name).unlink()
    again = run("gs-train", "--resume", "disk", cwd=tmp_path, GS_CACHE=str(tmp_path / "other"))
    assert again.returncode == 0 and "into which 32 were written" in again.stderr, again.stderr
    assert figures(tmp_path / "disk") == before
    scored = run("gs-eval", "disk", "--device", "cpu", cwd=tmp_path, GS_CACHE=cache)
    assert "equal to the stored scores to the last digit" in scored.stdout, scored.stderr


def test_a_dry_run_says_what_will_happen_and_writes_nothing(scene: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    options = ("--scene", scene, *SHORT, *ON_DISK, "--data.image-budget", 0, "--dry-run")
    done = run("gs-train", *options, cwd=tmp_path, GS_CACHE=str(cache))
    assert done.returncode == 0, done.stderr
    assert "photos      28 to train on (96x64; read from the disk), 4 held out" in done.stdout
    assert f"GB of photos go through {cache}/pixels, where 0 GB of them are" in done.stdout
    assert "; no step waits where " in done.stdout and not cache.exists()
    more = run("gs-train", *options, "--data.disk-budget", 1e-4, cwd=tmp_path, GS_CACHE=str(cache))
    assert "--data.disk-budget allows 0.000107 GB: the run would be refused" in more.stdout


def test_photos_that_find_no_room_are_refused_in_one_line(scene: Path, tmp_path: Path) -> None:
    options = ("--scene", scene, "--out", "run", *SHORT, *ON_DISK, "--data.disk-budget", 1e-4)
    done = run("gs-train", *options, cwd=tmp_path, GS_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 2 and not (tmp_path / "run/results.json").exists()
    assert "raise --data.disk-budget, or make the photos smaller" in done.stderr.splitlines()[-1]
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def write_model(folder: Path, count: int, side: int) -> None:
    """Cameras on a line, in text, without points."""
    folder.mkdir(parents=True)
    (folder / "cameras.txt").write_text(f"1 PINHOLE {side} {side} 400 400 {side / 2} {side / 2}\n")
    lines = [
        f"{i + 1} 1 0 0 0 {0.01 * i} {0.1 * (i % 2)} 4 1 {i:03d}.bmp\n\n" for i in range(count)
    ]
    (folder / "images.txt").write_text("".join(lines))
    (folder / "points3D.txt").write_text("")


def test_host_memory_holds_a_few_photos_at_a_time(tmp_path: Path) -> None:
    count, side = 200, 500
    photos = tmp_path / "scene/images"
    photos.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(noise).save(photos / "000.bmp")
    for index in range(1, count):
        os.link(photos / "000.bmp", photos / f"{index:03d}.bmp")
    write_model(tmp_path / "scene/sparse/0", count, side)
    peaks = []
    for name, place in (("memory", ()), ("disk", ON_DISK)):
        options = ("--scene", "scene", "--out", name, *SMOKE, "--steps", 1, *place)
        some = ("--init.source", "random", "--init.num-points", 20, "--data.test-every", 100)
        done = run("gs-train", *options, *some, cwd=tmp_path, GS_CACHE=str(tmp_path / "cache"))
        assert done.returncode == 0, done.stderr
        peaks.append(load_results(tmp_path / name / "results.json").peak_memory.host or 0)
    size = count * side * side * 3
    assert peaks[0] - peaks[1] > 0.7 * size, f"{[p / 1e6 for p in peaks]} of {size / 1e6} MB"
