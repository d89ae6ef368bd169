"""Pixels: every kind of file is decoded to 8-bit RGB or refused by name."""

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, UnidentifiedImageError

from gs_densify.errors import SceneError
from gs_densify.scene.photos.load import load_images, read_sizes
from gs_densify.scene.photos.open import open_picture
from gs_densify.scene.scene import View

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def view_of(path: Path, width: int = 9, height: int = 6) -> View:
    return View(path.name, path, 1, np.eye(4), np.eye(3), width, height)


def save(path: Path, pixels: np.ndarray, mode: str | None = None, **options) -> View:
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return view_of(path)


def decode(view: View) -> np.ndarray:
    (pixels,) = load_images([view], progress=False)
    assert pixels.dtype == np.uint8 and pixels.shape == (view.height, view.width, 3)
    return pixels


def refusal(view: View) -> str:
    with pytest.raises(SceneError) as caught:
        load_images([view], progress=False)
    assert "\n" not in str(caught.value) and str(view.path) in str(caught.value)
    return str(caught.value)


def test_rgb_comes_back_bit_for_bit(tmp_path: Path) -> None:
    np.testing.assert_array_equal(decode(save(tmp_path / "a.png", RGB)), RGB)


def test_grey_is_expanded(tmp_path: Path) -> None:
    pixels = decode(save(tmp_path / "a.png", RGB[..., 0]))
    np.testing.assert_array_equal(pixels, np.repeat(RGB[..., :1], 3, axis=2))


def test_sixteen_bit_grey_keeps_black_grey_and_white(tmp_path: Path) -> None:
    grey = np.full((6, 9), 65535, np.uint16)
    grey[0], grey[1], grey[2] = 0, 257 * 100, 257 * 100 + 128
    pixels = decode(save(tmp_path / "a.png", grey))
    assert pixels[:4, 0, 0].tolist() == [0, 100, 100, 255]
    assert (pixels == pixels[..., :1]).all()


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def test_sixteen_bit_colour_keeps_its_upper_byte(tmp_path: Path) -> None:
    # Pillow does not write such a file, so it is put together here (PNG specification, clause 5).
    deep = (RGB.astype(np.uint16) * 256 + 77).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in deep)
    header = struct.pack(">IIBBBBB", 9, 6, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    np.testing.assert_array_equal(decode(view_of(tmp_path / "a.png")), RGB)


def test_palettes_are_resolved(tmp_path: Path) -> None:
    view = save(tmp_path / "a.png", RGB, "P")
    with Image.open(view.path) as image:
        expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(decode(view), expected)


def test_an_opaque_alpha_channel_is_dropped(tmp_path: Path) -> None:
    rgba = np.dstack([RGB, np.full((6, 9), 255, np.uint8)])
    np.testing.assert_array_equal(decode(save(tmp_path / "a.png", rgba)), RGB)
    np.testing.assert_array_equal(
        decode(save(tmp_path / "b.png", rgba[..., [0, 3]])), np.repeat(RGB[..., :1], 3, axis=2)
    )


def test_transparent_pixels_that_no_mask_is_made_of_have_their_stored_colours(
    tmp_path: Path,
) -> None:
    rgba = np.dstack([RGB, np.full((6, 9), 0, np.uint8)])
    np.testing.assert_array_equal(decode(save(tmp_path / "a.png", rgba)), RGB)
    view = save(tmp_path / "b.png", RGB[..., 0], transparency=int(RGB[0, 0, 0]))
    np.testing.assert_array_equal(decode(view), np.repeat(RGB[..., :1], 3, axis=2))


@pytest.mark.parametrize(("mode", "suffix"), [("F", "tif"), ("LAB", "tif")])
def test_colour_spaces_without_an_exact_way_to_rgb_are_refused(
    tmp_path: Path, mode: str, suffix: str
) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.new(mode, (9, 6)).save(path)
    assert f"mode {mode}" in refusal(view_of(path))


def test_exif_orientation_is_ignored_as_in_colmap(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(save(tmp_path / "a.png", RGB, exif=exif)).shape == (6, 9, 3)
    assert read_sizes([tmp_path / "a.png"]) == [(9, 6)]


def test_a_photo_that_changed_size_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.png", RGB)
    message = refusal(view_of(tmp_path / "a.png", 10, 6))
    assert "9x6" in message and "10x6" in message


def encoded(suffix: str) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, {"jpg": "JPEG", "png": "PNG"}[suffix])
    return buffer.getvalue()


@settings(max_examples=60)
@given(suffix=st.sampled_from(["jpg", "png"]), fraction=st.floats(0, 0.98))
def test_a_truncated_file_is_refused(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, fraction: float
) -> None:
    path = tmp_path_factory.getbasetemp() / f"truncated.{suffix}"
    content = encoded(suffix)
    path.write_bytes(content[: int(fraction * len(content))])
    assert "cannot be read as a photo" in refusal(view_of(path, 90, 60))


def test_text_named_png_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("hello")
    assert "cannot be read as a photo" in refusal(view_of(tmp_path / "a.png"))
    assert "cannot be read as a photo" in refusal(view_of(tmp_path / "none.png"))
    with pytest.raises(SceneError, match=r"a\.png"):
        read_sizes([tmp_path / "a.png"])


@pytest.mark.parametrize("workers", [1, 4, None])
def test_many_photos_come_back_in_the_order_asked_for(tmp_path: Path, workers: int | None) -> None:
    views = []
    for k in range(40):
        # Early photos are larger, so that they finish later.
        pixels = np.full((6 if k else 900, 9 if k else 1200, 3), k, np.uint8)
        save(tmp_path / f"{k}.png", pixels)
        views.append(view_of(tmp_path / f"{k}.png", *pixels.shape[1::-1]))
    images = load_images(views[::-1], workers=workers)
    assert [int(image[0, 0, 0]) for image in images] == list(range(40))[::-1]
    assert read_sizes([v.path for v in views]) == [(v.width, v.height) for v in views]


def test_no_photos_are_no_photos() -> None:
    assert load_images([], progress=False) == []


def _png_of_size(path: Path, width: int, height: int) -> Path:
    """A grey PNG that says its size, without its pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + bytes(4))
    return path


def test_photos_of_two_hundred_megapixels_are_no_attack(tmp_path: Path) -> None:
    size = (17_328, 11_552)
    assert read_sizes([_png_of_size(tmp_path / "a.png", *size)]) == [size]
    with pytest.raises(SceneError, match=r"thousand megapixels;.* images_8/, and give --downscale"):
        read_sizes([_png_of_size(tmp_path / "b.png", 40_000, 40_000)])


def test_a_pointer_of_git_lfs_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 123\n")
    with pytest.raises(SceneError, match="pointer of Git LFS, not the photo; run git lfs pull"):
        read_sizes([path])


@pytest.mark.parametrize("form", ["EPS", "PCX", "SGI", "DDS", "ICO"])
def test_formats_of_no_photo_are_not_opened_whatever_their_name(form: str, tmp_path: Path) -> None:
    """Pillow would hand PostScript to Ghostscript, which runs what it says."""
    path = tmp_path / "a.png"
    Image.new("RGB", (9, 6)).save(path, form)
    with Image.open(path) as image:
        assert image.format == form
    assert "a.png cannot be read as a photo" in refusal(view_of(path))
    with pytest.raises(SceneError, match=r"a\.png cannot be read as a photo"):
        read_sizes([path])
    with pytest.raises(UnidentifiedImageError):
        open_picture(path)


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    os.mkfifo(path)
    code = (
        "import sys; from pathlib import Path\n"
        "from gs_densify.scene.photos.load import read_sizes\n"
        "read_sizes([Path(sys.argv[1])])"
    )
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert "a.png is no regular file" in done.stderr
