"""Which photos a view is made of: folders, sizes, and names that differ from COLMAP's."""

import logging
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from colmap_files import reconstruction, write_dataset, write_model, write_photo
from PIL import Image

from gs_densify.errors import SceneError
from gs_densify.scene.load import PhotoOptions, load_scene
from gs_densify.scene.photos.load import load_images
from gs_densify.scene.scene import Scene


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def load(root: Path, downscale: int = 1, **options) -> Scene:
    return load_scene(root, name="s", downscale=downscale, photos=PhotoOptions(**options))


def refusal(root: Path, downscale: int = 1, **options) -> str:
    with pytest.raises(SceneError) as caught:
        load(root, downscale, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def values(scene: Scene) -> list[int]:
    """Which photo each view got, by the value that ``write_photo`` gave it."""
    return [int(image[0, 0, 0]) for image in load_images(scene.views, progress=False)]


# --- sizes ---------------------------------------------------------------------------------------


def noisy_dataset(root: Path, size: tuple[int, int] = (97, 65)) -> Path:
    camera = {1: ("PINHOLE", *size, [80.0, 82.0, 40.0, 20.0])}
    write_dataset(root, cameras=camera)
    rng = np.random.default_rng(3)
    for name in "abc":
        pixels = rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{name}.png")
    return root


FILTERS = {"area": Image.Resampling.BOX, "bicubic": 3, "lanczos": Image.Resampling.LANCZOS}


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize(("factor", "size"), [(2, (48, 32)), (3, (32, 22)), (8, (12, 8))])
def test_photos_are_resized_as_pillow_does_and_intrinsics_follow(
    tmp_path: Path, name: str, factor: int, size: tuple[int, int]
) -> None:
    root = noisy_dataset(tmp_path)
    scene = load(root, factor, image_source="resized", resize_filter=name)
    assert (scene.image_source, scene.resize_filter, scene.image_dir) == ("resized", name, "images")
    assert scene.image_sizes == (size,) and scene.downscale == factor
    with Image.open(root / "images" / "b.png") as photo:
        expected = np.asarray(photo.resize(size, FILTERS[name]))
    np.testing.assert_array_equal(load_images(scene.views, progress=False)[1], expected)
    K = scene.views[1].K
    np.testing.assert_allclose(K[0, [0, 2]], np.array([80.0, 40.0]) * size[0] / 97)
    np.testing.assert_allclose(K[1, [1, 2]], np.array([82.0, 20.0]) * size[1] / 65)


def test_a_missing_folder_is_made_up_for_only_when_asked_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = noisy_dataset(tmp_path)
    assert "--data.image-source resized to make them from images/" in refusal(root, 4)
    scene = load(root, 4, image_source="auto")
    assert scene.resize_filter == "bicubic", "gsplat's"
    assert not caplog.records, "nothing is made yet"
    load_images(scene.views, progress=False)
    said = f"3 photos of {root / 'images'} resized to 24x16 (bicubic filter); kept in "
    assert said in caplog.text
    caplog.clear()
    load_images(scene.views, progress=False)
    assert not caplog.records, "they are kept"
    assert not (root / "images_4").exists(), "the user's folder is left alone"


def test_photos_that_are_there_are_used_as_found(
    tmp_path: Path, own_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = noisy_dataset(tmp_path)
    for name in "abc":
        write_photo(root / "images_2" / f"{name}.png", 48, 33, value=50)
    for source in ("auto", "found"):
        scene = load(root, 2, image_source=source)
        assert (scene.image_source, scene.resize_filter) == ("as found", None)
        assert values(scene) == [50, 50, 50] and scene.image_dir == "images_2"
    assert not caplog.records and not own_cache.exists()
    resized = load(root, 2, image_source="resized")
    assert resized.image_dir == "images" and resized.image_sizes == ((48, 32),)


def test_options_without_an_effect_are_refused(tmp_path: Path) -> None:
    root = noisy_dataset(tmp_path)
    assert "resized has no effect at --downscale 1" in refusal(root, image_source="resized")
    for source in ("auto", "found"):
        message = refusal(root, image_source=source, resize_filter="area")
        assert "--data.resize-filter area has no effect" in message
    shutil.copytree(root / "images", root / "images_2")
    assert "no effect" in refusal(root, 2, image_source="auto", resize_filter="area")


def test_photos_of_several_sizes_and_cameras_are_each_resized_on_their_own(tmp_path: Path) -> None:
    cameras = {
        1: ("PINHOLE", 96, 64, [80.0, 82.0, 48.5, 31.5]),
        2: ("SIMPLE_PINHOLE", 40, 60, [50.0, 20.0, 30.0]),
        3: ("SIMPLE_RADIAL", 96, 64, [80.0, 48.0, 32.0, 0.05]),
    }
    root = write_dataset(tmp_path, cameras=cameras, camera_of=[1, 2, 3])
    write_photo(root / "images" / "b.png", 80, 120, value=1)  # twice COLMAP's size
    scene = load(root, 4, image_source="auto")
    assert [(v.width, v.height) for v in scene.views][:2] == [(24, 16), (20, 30)]
    assert scene.undistorted and scene.views[1].K[0, 0] == 25
    assert values(scene) == [0, 1, 2]


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_disk", ["b.jpg", "b.JPG", "B.png", "b.jpeg", "b.Tiff"])
def test_a_name_that_differs_in_case_or_suffix_is_paired_and_counted(
    tmp_path: Path, on_disk: str, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_dataset(tmp_path, ["a.png", "b.PNG", "c.png"])
    (root / "images" / "b.PNG").unlink()
    write_photo(root / "images" / on_disk, value=99)
    scene = load(root)
    assert [view.name for view in scene.views] == ["a.png", "b.PNG", "c.png"]
    assert abs(values(scene)[1] - 99) < 3, "the JPEG changes colours a little"
    assert f"1 of 3 photos differ from COLMAP's names in case or suffix, first {on_disk!r}" in (
        caplog.text
    )


def test_folders_and_unicode_forms_are_paired_too(tmp_path: Path) -> None:
    root = write_dataset(tmp_path, ["Cam 1/é.JPG", "cam 2/é.JPG"])
    shutil.rmtree(root / "images")
    write_photo(root / "images" / "cam 1" / unicodedata.normalize("NFD", "é.png"), value=10)
    write_photo(root / "images" / "cam 2" / "é.png", value=20)
    assert values(load(root)) == [10, 20]


@pytest.mark.parametrize("named", ["b.HEIC", "b.dng", "b.exr", "b.NEF", "b"])
def test_a_photo_that_was_converted_is_found_by_its_stem(tmp_path: Path, named: str) -> None:
    root = write_dataset(tmp_path, ["a.png", "c.png"])
    shutil.rmtree(root / "sparse")
    write_model(root / "sparse" / "0", reconstruction(["a.png", named, "c.png"]))
    write_photo(root / "images" / "b.jpg", value=99)
    write_photo(root / "images" / "._b.jpg")
    scene = load(root)
    assert scene.views[1].name == named and abs(values(scene)[1] - 99) < 3
    if named != "b":  # one that only other programs read does not go before one that is read
        (root / "images" / named).write_bytes(b"raw")
        assert "b.HEIC" == named or abs(values(load(root))[1] - 99) < 3
        (root / "images" / named).unlink()
    write_photo(root / "images" / "b.png")
    assert f"2 files that may be the photo {named!r}: b.jpg, b.png" in refusal(root)


@pytest.mark.parametrize(
    "start",
    ["images/", "C:\\me\\images\\", "/home/me/images/", "../images/", "images\\", "\\\\srv\\x\\"],
)
def test_paths_of_another_place_are_found_by_their_end(
    tmp_path: Path, start: str, caplog: pytest.LogCaptureFixture
) -> None:
    on_disk = ["a.png", "cam 1/b.png", "cam 1/c.png", "cam 2/b.png"]
    names = [start + name.replace("/", "\\" if "\\" in start else "/") for name in on_disk]
    write_model(tmp_path / "sparse" / "0", reconstruction(names))
    for value, name in enumerate(on_disk):
        write_photo(tmp_path / "images" / name, value=value)
    scene = load(tmp_path)
    assert values(scene) == [0, 1, 2, 3]
    assert all(not Path(view.name).is_absolute() for view in scene.views)
    assert "4 of 4 photos are found by the end of COLMAP's path, first 'a.png'" in caplog.text


def test_a_backslash_in_a_file_is_a_folder_as_well(tmp_path: Path) -> None:
    """Some programs that unpack archives of Windows make such files."""
    write_model(tmp_path / "sparse" / "0", reconstruction(["cam/a.png", "cam\\b.png", "c.png"]))
    for value, name in enumerate(["c.png", "cam\\a.png", "cam/b.png"]):
        write_photo(tmp_path / "images" / name, value=value)
    assert values(load(tmp_path)) == [0, 1, 2]


def test_an_end_that_fits_two_files_or_two_names_is_refused(tmp_path: Path) -> None:
    names = ["x/cam/a.png", "x/b.png"]
    write_model(tmp_path / "sparse" / "0", reconstruction(names))
    for name in ("a.png", "cam/a.png", "b.png"):
        write_photo(tmp_path / "images" / name)
    assert "2 files that may be the photo 'x/cam/a.png': a.png, cam/a.png" in refusal(tmp_path)
    shutil.rmtree(tmp_path / "sparse")
    write_model(tmp_path / "sparse" / "0", reconstruction(["x/b.png", "y/b.png"]))
    assert "may belong to 'x/b.png' or 'y/b.png'" in refusal(tmp_path)


def test_no_file_outside_of_the_photos_is_read(tmp_path: Path) -> None:
    write_photo(tmp_path / "b.png")
    names = ["a.png", str(tmp_path / "b.png"), "../c.png"]
    root = tmp_path / "scene"
    write_model(root / "sparse" / "0", reconstruction(names))
    write_photo(root / "images" / "a.png")
    write_photo(root / "c.png")
    message = refusal(root)
    assert "lacks 2 of the 3 photos" in message and "check that these photos" in message
    write_photo(root / "images" / "cam" / "frame_1.png")
    assert "first 'c.png'; another is 'cam/frame_1.png'" in refusal(root)


def test_photos_are_found_in_linked_folders(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "scene", ["cam/a.PNG", "cam/b.PNG"])
    (root / "images" / "cam").rename(tmp_path / "store")
    for name in "ab":
        (tmp_path / "store" / f"{name}.PNG").rename(tmp_path / "store" / f"{name}.png")
    (root / "images" / "cam").symlink_to(tmp_path / "store")
    assert values(load(root)) == [0, 1]


def test_two_candidates_are_refused(tmp_path: Path) -> None:
    root = write_dataset(tmp_path, ["a.png", "b.JPG", "c.png"])
    (root / "images" / "b.JPG").unlink()
    write_photo(root / "images" / "b.png")
    write_photo(root / "images" / "b.tif")
    message = refusal(root)
    assert "2 files that may be the photo 'b.JPG': b.png, b.tif" in message
    assert "2 files" in refusal(root, skip_missing=True)


def test_one_file_never_stands_for_two_photos(tmp_path: Path) -> None:
    root = write_dataset(tmp_path, ["a.jpg", "a.png", "b.png", "c.png"])
    (root / "images" / "a.jpg").unlink()
    assert "lacks 1 of the 4" in refusal(root), "a.png is the other photo"
    (root / "images" / "a.png").unlink()
    write_photo(root / "images" / "a.tif")
    assert "may belong to 'a.jpg' or 'a.png'" in refusal(root)


def test_missing_photos_are_left_out_when_asked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = [f"{k}.png" for k in range(6)]
    root = write_dataset(tmp_path, names)
    for name in names[:3]:
        (root / "images" / name).unlink()
    assert "train without them: --data.skip-missing" in refusal(root)
    with caplog.at_level(logging.WARNING):
        scene = load(root, skip_missing=True)
    assert [view.name for view in scene.views] == names[3:] and values(scene) == [3, 4, 5]
    assert "lacks 3 of the 6 photos" in caplog.text
    (root / "images" / names[3]).unlink()
    assert "expected at least half of them" in refusal(root, skip_missing=True)


# --- orientation ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("orientation", "words"), [(6, "mogrify -auto-orient"), (1, "turn it back")]
)
def test_a_turned_photo_is_named_as_such(tmp_path: Path, orientation: int, words: str) -> None:
    root = write_dataset(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (64, 96)).save(root / "images" / "b.png", exif=exif)
    message = refusal(root)
    assert "64x96" in message and "96x64" in message and words in message
    Image.new("RGB", (60, 90)).save(root / "images" / "b.png", exif=exif)
    assert words in refusal(root)


def test_stored_pixels_count_also_where_exif_asks_to_turn_them(tmp_path: Path) -> None:
    root = write_dataset(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 3
    for name in "abc":
        with Image.open(root / "images" / f"{name}.png") as photo:
            photo.putpixel((0, 0), (200, 0, 0))
            photo.save(root / "images" / f"{name}.png", exif=exif)
    assert values(load(root)) == [200, 200, 200]


def test_names_with_spaces_of_a_text_model_are_paired(tmp_path: Path) -> None:
    names = ["my cam/a 1.png", "my cam/a.png", "my.png"]
    write_model(tmp_path / "sparse" / "0", reconstruction(names), kind="txt")
    for value, name in enumerate(names):
        write_photo(tmp_path / "images" / name, value=value)
    assert values(load(tmp_path)) == [0, 1, 2]
