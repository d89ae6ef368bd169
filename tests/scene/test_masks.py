"""Masks: found under every usual name, resized and undistorted so that no masked pixel leaks."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from colmap_files import reconstruction, write_dataset, write_model, write_photo
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gs_densify.errors import SceneError
from gs_densify.scene.blank import without_blank
from gs_densify.scene.load import PhotoOptions, load_scene
from gs_densify.scene.photos.decode import Photo
from gs_densify.scene.photos.load import load_photos
from gs_densify.scene.photos.resize import resize_mask, resize_photo
from gs_densify.scene.scene import Scene

WIDTH, HEIGHT = 96, 64
COUNTS = np.ones((HEIGHT, WIDTH), bool)
COUNTS[10:30, 20:60] = False


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def save_mask(path: Path, counts: np.ndarray = COUNTS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.where(counts, 255, 0).astype(np.uint8)).save(path)


def load(root: Path, downscale: int = 1, **options) -> Scene:
    return load_scene(root, name="s", downscale=downscale, photos=PhotoOptions(**options))


def photos(scene: Scene) -> list[Photo]:
    loaded = load_photos(scene.views, progress=False)
    for view, photo in zip(scene.views, loaded, strict=True):
        assert photo.mask is None or photo.mask.shape == (view.height, view.width)
        assert photo.mask is None or photo.mask.dtype == bool
    return loaded


def refusal(root: Path, **options) -> str:
    with pytest.raises(SceneError) as caught:
        photos(load(root, **options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("photo", "mask"),
    [
        ("a.png", "masks/a.png"),
        ("a.png", "masks/a.png.png"),
        ("a.jpg", "masks/a.png"),
        ("a.jpg", "masks/A.JPG.PNG"),
        ("cam 1/a.jpg", "masks/cam 1/a.jpg"),
        ("cam 1/a.JPG", "masks/cam 1/a.JPG.png"),
        ("a.jpg", "masks/a.jpg.mask.png"),
        ("a.jpg", "masks/a_mask.png"),
        ("a.jpg", "masks/a_Mask.tif"),
        ("cam 1/a.jpg", "masks/a.png"),
        ("cam 1/a.jpg", "masks/a.jpg.mask.png"),
        ("a.jpg", "images/a.jpg.mask.png"),
        ("cam 1/a.jpg", "images/cam 1/a_mask.png"),
        ("a_mask.jpg", "masks/a_mask.png"),
        ("a_mask.jpg", "masks/a_mask_mask.png"),
    ],
)
def test_every_layout_is_found(
    tmp_path: Path, photo: str, mask: str, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_dataset(tmp_path, [photo, "b.png", "c.png"])
    save_mask(root / mask)
    scene = load(root)
    assert scene.masks and "masks of 1 and alpha channels of 0 of 3 photos" in caplog.text
    assert "2 of 3 photos have no mask and count in full" in caplog.text
    by_name = dict(zip([v.name for v in scene.views], photos(scene), strict=True))
    np.testing.assert_array_equal(by_name[photo].mask, COUNTS)
    assert by_name["b.png"].mask is None


def test_masks_of_the_factor_go_before_those_of_full_size(tmp_path: Path) -> None:
    root = write_dataset(tmp_path)
    for name in "abc":
        save_mask(root / "masks" / f"{name}.png")
    half = load(root, 2, image_source="resized")
    for photo in photos(half):
        np.testing.assert_array_equal(photo.mask, resize_mask(COUNTS, (48, 32), "bicubic"))
    for name in "abc":
        own = np.ones((32, 48), bool)
        own[:5] = False
        save_mask(root / "masks_2" / f"{name}.png", own)
        Image.new("RGB", (48, 32)).save(root / "images" / f"x{name}.png")
    (root / "images_2").mkdir()
    for name in "abc":
        Image.new("RGB", (48, 32)).save(root / "images_2" / f"{name}.png")
    np.testing.assert_array_equal(photos(load(root, 2))[0].mask, own)


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P", "I;16", "RGBA"])
def test_masks_of_every_kind_of_file_are_read(tmp_path: Path, mode: str) -> None:
    root = write_dataset(tmp_path)
    white = Image.fromarray(np.where(COUNTS, 255, 0).astype(np.uint8))
    if mode == "I;16":
        white = Image.fromarray(np.where(COUNTS, 65535, 0).astype(np.uint16))
    elif mode == "RGBA":
        blank = Image.new("RGBA", white.size)
        white = Image.composite(Image.new("RGBA", white.size, "red"), blank, white)
    else:
        white = white.convert(mode)
    (root / "masks").mkdir()
    white.save(root / "masks" / "a.png")
    np.testing.assert_array_equal(photos(load(root))[0].mask, COUNTS)


def test_masks_in_a_linked_folder_are_found_under_every_name(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "set", ["cam/a.jpg", "cam/b.jpg"])
    for name in ("a.png", "b.jpg.mask.png"):
        save_mask(tmp_path / "store" / name)
    (root / "masks").mkdir()
    (root / "masks/cam").symlink_to(tmp_path / "store")
    for photo in photos(load(root)):
        np.testing.assert_array_equal(photo.mask, COUNTS)


def test_an_alpha_channel_is_a_mask(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_dataset(tmp_path)
    rgba = np.dstack([np.full((HEIGHT, WIDTH, 3), 40, np.uint8), np.where(COUNTS, 255, 0)])
    Image.fromarray(rgba.astype(np.uint8)).save(root / "images" / "b.png")
    scene = load(root)
    assert scene.masks and "alpha channels of 1 of 3 photos" in caplog.text
    first, second, _ = photos(scene)
    assert first.mask is None and (second.pixels == 40).all()
    np.testing.assert_array_equal(second.mask, COUNTS)
    np.testing.assert_array_equal(photos(load(root, masks="invert"))[1].mask, ~COUNTS)
    save_mask(root / "masks" / "b.png", COUNTS[::-1])
    np.testing.assert_array_equal(photos(load(root))[1].mask, COUNTS & COUNTS[::-1])

    caplog.clear()
    _, whole, _ = photos(load(root, masks="none"))
    assert whole.mask is None and (whole.pixels == 40).all(), "all of the photo, as it is stored"
    assert "transparent pixels of 1 of 3 photos count" in caplog.text


def test_masks_can_be_inverted_and_ignored(tmp_path: Path) -> None:
    root = write_dataset(tmp_path)
    assert "--data.masks invert has no effect" in refusal(root, masks="invert")
    save_mask(root / "masks" / "a.png")
    np.testing.assert_array_equal(photos(load(root, masks="invert"))[0].mask, ~COUNTS)
    plain = load(root, masks="none")
    assert not plain.masks and [photo.mask for photo in photos(plain)] == [None] * 3


def test_inverted_masks_are_as_strict_as_others(tmp_path: Path) -> None:
    """Where file and alpha both speak, both must agree; no masked pixel leaks through a resize."""
    root = write_dataset(tmp_path)
    rgba = np.dstack([np.full((HEIGHT, WIDTH, 3), 40, np.uint8), np.where(COUNTS, 255, 0)])
    Image.fromarray(rgba.astype(np.uint8)).save(root / "images" / "a.png")
    for name, counts in (("a", COUNTS[:, ::-1]), ("b", COUNTS)):
        save_mask(root / "masks" / f"{name}.png", counts)
    small = np.repeat(np.repeat(COUNTS[1::2, 1::2], 3, axis=0), 3, axis=1)  # 144x96 for 96x64
    save_mask(root / "masks" / "c.png", small)
    a, b, c = photos(load(root, masks="invert"))
    np.testing.assert_array_equal(a.mask, ~COUNTS & ~COUNTS[:, ::-1])
    np.testing.assert_array_equal(b.mask, ~COUNTS)
    np.testing.assert_array_equal(c.mask, resize_mask(~small, (WIDTH, HEIGHT)))


def test_masks_are_named_after_the_photos_on_disk_as_well(tmp_path: Path) -> None:
    root = write_dataset(tmp_path, ["a.png", "b.png", "c.png"])
    model = root / "sparse" / "0"
    shutil.rmtree(model)
    write_model(model, reconstruction(["/me/a.HEIC", "/me/b.HEIC", "/me/c.HEIC"]))
    for name in "abc":
        save_mask(root / "masks" / f"{name}.png.mask.png")
    assert all(photo.mask is not None for photo in photos(load(root)))


def test_marks_beside_photos_of_full_size_count_at_every_size(tmp_path: Path) -> None:
    root = write_dataset(tmp_path)
    for name in "abc":
        save_mask(root / "images" / f"{name}_mask.png")
        write_photo(root / "images_2" / f"{name}.png", 48, 32)
    assert load(root, 2).masks


def test_masks_in_one_folder_for_photos_in_several_must_be_clear(tmp_path: Path) -> None:
    root = write_dataset(tmp_path, ["cam1/a.png", "cam2/a.png", "cam2/b.png"])
    save_mask(root / "masks" / "a.png")
    assert "may belong to 'cam1/a.png' or 'cam2/a.png'" in refusal(root)
    (root / "masks" / "a.png").rename(root / "masks" / "b.png")
    save_mask(root / "masks" / "b_mask.png")
    assert "2 files that may be the mask of 'cam2/b.png': b.png, b_mask.png" in refusal(root)


def test_masks_that_fit_no_photo_are_refused(tmp_path: Path) -> None:
    root = write_dataset(tmp_path)
    save_mask(root / "masks" / "mask_0001.png")
    assert "1 image files, none of them named after a photo; expected e.g. a.png" in refusal(root)


def test_two_masks_of_a_photo_and_two_photos_of_a_mask_are_refused(tmp_path: Path) -> None:
    root = write_dataset(tmp_path, ["a.jpg", "a.png", "c.png"])
    save_mask(root / "masks" / "a.png")
    assert "may belong to 'a.jpg' or 'a.png'" in refusal(root)
    save_mask(root / "masks" / "c.png")
    save_mask(root / "masks" / "c.png.png")
    (root / "masks" / "a.png").unlink()
    assert "2 files that may be the mask of 'c.png'" in refusal(root)


def test_a_mask_of_another_shape_is_refused(tmp_path: Path) -> None:
    root = write_dataset(tmp_path)
    save_mask(root / "masks" / "a.png", COUNTS.T)
    assert "64x96 pixels but its photo 96x64" in refusal(root)


def _whole(root: Path, **options) -> Scene:
    """The scene as commands read it: with what its masks say."""
    scene = load(root, **options)
    loaded = load_photos(scene.views, progress=False)
    blank = [photo.is_blank for photo in loaded]
    return without_blank(scene, dict(zip([v.name for v in scene.views], blank, strict=True)))


@pytest.mark.parametrize("downscale", [1, 2])
def test_a_view_of_which_no_pixel_counts_is_left_out_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, downscale: int
) -> None:
    names = [f"{i}.png" for i in range(10)]
    root = write_dataset(tmp_path, names)
    save_mask(root / "masks" / "3.png", np.zeros_like(COUNTS))
    save_mask(root / "masks" / "8.png", np.zeros_like(COUNTS))
    scene = load_scene(
        root, name="s", downscale=downscale, photos=PhotoOptions(image_source="auto")
    )
    loaded = load_photos(scene.views, progress=False)
    blank = [photo.is_blank for photo in loaded]
    rest = without_blank(scene, dict(zip(names, blank, strict=True)))
    assert [view.name for view in rest.test_views] == ["0.png"], "the split stays: 8 is held out"
    assert [view.name for view in rest.train_views] == [f"{i}.png" for i in (1, 2, 4, 5, 6, 7, 9)]
    assert "'3.png', '8.png' left out" in caplog.text


def test_masks_that_leave_nothing_are_refused_with_what_helps(tmp_path: Path) -> None:
    names = [f"{i}.png" for i in range(9)]
    root = write_dataset(tmp_path, names)
    for name in names:
        Image.fromarray(COUNTS.astype(np.uint8)).save(_made(root / "masks" / name))  # 0 and 1
    with pytest.raises(SceneError, match="no pixel of the 7 photos count that are to train") as why:
        _whole(root)
    assert "white (255)" in str(why.value) and "--data.masks invert or none" in str(why.value)
    assert len(_whole(root, masks="none").train_views) == 7
    assert len(_whole(root, masks="invert").train_views) == 7
    for name in names:
        save_mask(root / "masks" / name, np.full_like(COUNTS, name not in ("0.png", "8.png")))
    with pytest.raises(SceneError, match="no pixel of the 2 photos count that are held out"):
        _whole(root)
    with pytest.raises(SceneError, match=r"7 photos count that are to train on.*auto or none"):
        _whole(root, masks="invert")


def _made(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    return path


# --- no masked pixel leaks -----------------------------------------------------------------------


@settings(max_examples=60)
@given(
    size=st.tuples(st.integers(5, 40), st.integers(5, 40)),
    factor=st.integers(1, 6),
    kind=st.sampled_from(["area", "bicubic", "lanczos"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_masked_pixels_change_no_pixel_that_counts_after_resizing(
    size: tuple[int, int], factor: int, kind: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    smaller = max(1, round(size[0] / factor)), max(1, round(size[1] / factor))
    counts = rng.random(size[::-1]) > 0.02
    photo = rng.integers(0, 256, (*counts.shape, 3), dtype=np.uint8)
    other = np.where(counts[..., None], photo, 255 - photo)
    kept = resize_mask(counts, smaller, kind)
    first, second = resize_photo(photo, smaller, kind), resize_photo(other, smaller, kind)
    np.testing.assert_array_equal(first[kept], second[kept])
    # Not more is left out than what a filter of three pixels on either side can see.
    scale_y, scale_x = np.array(counts.shape) / kept.shape
    for y, x in np.argwhere(~kept):
        rows = slice(max(0, int((y - 3) * scale_y)), int((y + 4) * scale_y) + 2)
        assert not counts[rows, max(0, int((x - 3) * scale_x)) : int((x + 4) * scale_x) + 2].all()


def test_masked_pixels_change_no_pixel_that_counts_after_undistorting(tmp_path: Path) -> None:
    cameras = {1: ("OPENCV", WIDTH, HEIGHT, [80.0, 82.0, 48.5, 31.5, 0.1, 0.05, 0.01, 0])}
    results = []
    rng = np.random.default_rng(5)
    noise, other = rng.integers(0, 256, (2, HEIGHT, WIDTH, 3), dtype=np.uint8)
    for kind, hidden in (("one", noise), ("two", other)):
        root = write_dataset(tmp_path / kind, cameras=cameras)
        pixels = np.where(COUNTS[..., None], noise, hidden)
        Image.fromarray(pixels).save(root / "images" / "a.png")
        save_mask(root / "masks" / "a.png")
        results.append(photos(load(root))[0])
        again = photos(load(root))[0]
        np.testing.assert_array_equal(again.pixels, results[-1].pixels)
        np.testing.assert_array_equal(again.mask, results[-1].mask)
    first, second = results
    np.testing.assert_array_equal(first.mask, second.mask)
    assert 0.6 < first.mask.mean() < 0.95
    difference = first.pixels[first.mask].astype(int) - second.pixels[first.mask]
    assert np.abs(difference).max() <= 1
    assert np.abs(first.pixels.astype(int) - second.pixels).max() > 100


def test_a_changed_mask_is_prepared_again(tmp_path: Path) -> None:
    root = write_dataset(tmp_path)
    save_mask(root / "masks" / "a.png")
    options = {"downscale": 2, "image_source": "resized"}
    before = photos(load(root, **options))[0].mask
    save_mask(root / "masks" / "a.png", COUNTS[:, ::-1])
    after = photos(load(root, **options))[0].mask
    assert before.sum() == after.sum() and (before != after).any()
    assert (photos(load(root, masks="invert", **options))[0].mask & after).sum() == 0


def test_no_masks_no_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        scene = load(write_dataset(tmp_path))
    assert not scene.masks and not caplog.records
