"""Which photos can be used, under which names, in which form, and with which cameras."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gs_densify.errors import ConfigError, SceneError
from gs_densify.reconstruct.cameras import camera_groups
from gs_densify.reconstruct.images import place_photos
from gs_densify.reconstruct.photos import Placed, find_photos, usable_photos

ORIENTATION, MODEL = 0x0112, 0x0110


def save(path: Path, seed: int, *, turned: bool = False, model: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if turned:
        exif[ORIENTATION] = 6
    if model:
        exif[MODEL] = model
    pixels = np.random.default_rng(seed).integers(0, 255, (3, 4, 3)).astype(np.uint8)
    Image.fromarray(pixels).resize((40, 30), Image.Resampling.NEAREST).save(path, exif=exif)


def placed(source: Path, folder: Path) -> dict[str, Path]:
    photos = usable_photos(find_photos(source, without=folder))
    place_photos(photos, folder)
    return {photo.placed.name: photo.path for photo in photos}


def test_photos_keep_their_folders_and_names_but_for_blanks(tmp_path: Path) -> None:
    for seed, name in enumerate(["left/a 1.png", "left/a_1.png", "right/#a.jpg", "right/b.png"]):
        save(tmp_path / "photos" / name, seed)
    names = placed(tmp_path / "photos", tmp_path / "images")
    assert sorted(names) == ["left/a_1-2.png", "left/a_1.png", "right/_a.jpg", "right/b.png"]
    assert names["left/a_1.png"].name == "a_1.png", "who has a good name keeps it"
    for name, path in names.items():
        assert os.path.samefile(tmp_path / "images" / name, path)


def test_photos_are_turned_and_written_in_a_form_that_colmap_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, name in enumerate(["a.jpg", "b.jpg", "c.webp", "d.png"]):
        save(tmp_path / "photos" / name, seed, turned=name in "a.jpg d.png", model="X1")
    names = placed(tmp_path / "photos", tmp_path / "images")
    assert sorted(names) == ["a.jpg", "b.jpg", "c.jpg", "d.png"]
    assert "4 photos, 1 linked (hard links: no space is taken), 3 converted" in (
        capsys.readouterr().err
    )
    for name, turned in (("a.jpg", True), ("b.jpg", False), ("c.jpg", False), ("d.png", True)):
        with Image.open(tmp_path / "images" / name) as copy, Image.open(names[name]) as photo:
            assert copy.size == ((30, 40) if turned else (40, 30))
            assert copy.getexif().get(MODEL) == "X1" and ORIENTATION not in copy.getexif()
            upright = photo.transpose(Image.Transpose.ROTATE_270) if turned else photo
            difference = np.asarray(copy, float) - np.asarray(upright.convert("RGB"), float)
            assert np.abs(difference).mean() < 3


def test_without_photos_it_says_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(SceneError, match=r"has no photos; expected files that end in .*\.jpg"):
        find_photos(tmp_path, without=tmp_path / "scene")
    save(tmp_path / "a.png", 0)
    with pytest.raises(SceneError, match="1 of 1 photos can be used; expected 3 at least"):
        usable_photos(find_photos(tmp_path, without=tmp_path / "scene"))


def test_what_is_beside_the_photos_is_not_taken_for_more(tmp_path: Path) -> None:
    save(tmp_path / "a.png", 0)
    for seed, name in enumerate(["scene/images/a.png", "masks/a.png", "images_4/a.png"]):
        save(tmp_path / name, seed)
    assert list(find_photos(tmp_path, without=tmp_path / "scene/images")) == ["a.png"]


PHOTOS = [
    Placed("left/a.jpg", 40, 30, "X1 4.2"),
    Placed("left/b.jpg", 40, 30, "X1 4.2"),
    Placed("left/c.jpg", 40, 30, "X1 9.0"),
    Placed("right/a.jpg", 40, 30, "X1 4.2"),
    Placed("right/b.jpg", 30, 40, "X1 4.2"),
]


@pytest.mark.parametrize(
    ("cameras", "expected"),
    [
        ("auto", [["left/a", "left/b", "right/a"], ["left/c"], ["right/b"]]),
        ("folder", [["left/a", "left/b", "left/c"], ["right/a"], ["right/b"]]),
        ("photo", [["left/a"], ["left/b"], ["left/c"], ["right/a"], ["right/b"]]),
    ],
)
def test_photos_share_cameras(cameras: str, expected: list[list[str]]) -> None:
    found = camera_groups(PHOTOS, cameras)  # type: ignore[arg-type]
    assert [[name.removesuffix(".jpg") for name in names] for names in found] == expected


def test_one_camera_needs_one_size() -> None:
    assert len(camera_groups(PHOTOS[:4], "one")) == 1
    with pytest.raises(
        ConfigError, match="--cameras is one, and the photos have 2 sizes: 30x40, 4"
    ):
        camera_groups(PHOTOS, "one")


def test_pngs_are_written_beside_pycolmap(tmp_path: Path) -> None:
    work = "import gs_densify.reconstruct.cameras; from PIL import Image; "
    work += "Image.new('RGB', (300, 300)).save('a.png')"
    done = subprocess.run([sys.executable, "-c", work], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
