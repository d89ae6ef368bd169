"""Photos as cameras and mapping programs write them: HEIC, CMYK, 16 bits, more than three bands."""

import struct
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gs_densify.errors import SceneError
from gs_densify.scene.photos.decode import read_header, read_photo

RGB = np.random.default_rng(3).integers(0, 256, (6, 5, 3), dtype=np.uint8)
NEAR_INFRARED = np.random.default_rng(4).integers(0, 256, (6, 5, 1), dtype=np.uint8)


def write_tiff(
    path: Path,
    pixels: np.ndarray,
    *,
    extra: Sequence[int] | None = None,
    photometric: int = 2,
    apart: bool = False,
    deflated: bool = False,
    tags: Sequence[tuple[int, int, list[int]]] = (),
) -> Path:
    """A TIFF of one strip for the picture or for each band; `pixels` are [H, W, bands]."""
    height, width, bands = pixels.shape
    parts = [pixels[..., i] for i in range(bands)] if apart else [pixels]
    strips = [part.astype(part.dtype.newbyteorder("<")).tobytes() for part in parts]
    strips = [zlib.compress(strip) for strip in strips] if deflated else strips
    fields = [
        (256, 3, [width]),
        (257, 3, [height]),
        (258, 3, [8 * pixels.dtype.itemsize] * bands),
        (259, 3, [8 if deflated else 1]),
        (262, 3, [photometric]),
        (273, 4, [0] * len(strips)),
        (277, 3, [bands]),
        (278, 3, [height]),
        (279, 4, [len(strip) for strip in strips]),
        (284, 3, [2 if apart else 1]),
        *([] if extra is None else [(338, 3, [*extra])]),
        *tags,
    ]
    codes, end = {3: "H", 4: "I", 1: "B"}, 8 + 2 + 12 * len(fields) + 4
    sizes = [struct.calcsize(codes[kind]) * len(values) for _, kind, values in fields]
    start = end + sum(size for size in sizes if size > 4)
    offsets = [start + sum(map(len, strips[:i])) for i in range(len(strips))]
    entries, behind = b"", b""
    for (tag, kind, values), size in zip(fields, sizes, strict=True):
        values = offsets if tag == 273 else values
        packed = struct.pack(f"<{len(values)}{codes[kind]}", *values)
        place = packed.ljust(4, b"\0") if size <= 4 else struct.pack("<I", end + len(behind))
        entries += struct.pack("<HHI", tag, kind, len(values)) + place
        behind += packed if size > 4 else b""
    head = struct.pack("<2sHIH", b"II", 42, 8, len(fields)) + entries + bytes(4)
    path.write_bytes(head + behind + b"".join(strips))
    return path


def read(path: Path) -> np.ndarray:
    assert read_header(path).size == (5, 6)
    photo = read_photo(path, use_alpha=True)
    assert photo.mask is None
    return photo.pixels


@pytest.mark.parametrize("deflated", [False, True])
@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize(
    ("bands", "extra", "photometric"),
    [
        *[(3, None, 2), (4, None, 2), (4, [0], 2), (5, [0, 0], 2)],
        *[(3, [0, 0], 1), (4, [0, 0, 0], 1), (2, [0], 1)],
    ],
)
def test_a_tiff_has_the_colours_of_its_first_three_bands_or_is_refused(
    bands: int,
    extra: list[int] | None,
    photometric: int,
    deep: bool,
    apart: bool,
    deflated: bool,
    tmp_path: Path,
) -> None:
    pixels = np.concatenate([RGB, NEAR_INFRARED, NEAR_INFRARED], axis=2)[..., :bands]
    pixels = pixels.astype(np.uint16) * 257 if deep else pixels
    options = {"extra": extra, "photometric": photometric, "apart": apart, "deflated": deflated}
    path = write_tiff(tmp_path / "a.tif", pixels, **options)
    expected = RGB[..., :1].repeat(3, axis=2) if bands == 2 else RGB
    try:
        np.testing.assert_array_equal(read(path), expected)
    except SceneError as error:
        assert apart or bands not in (3, 4)
        assert "is a TIFF whose bands, by number, type or order, are not read" in str(error)


def test_a_fourth_band_that_is_called_alpha_is_a_mask(tmp_path: Path) -> None:
    alpha = np.where(NEAR_INFRARED > 127, 255, 0).astype(np.uint8)
    path = write_tiff(tmp_path / "a.tif", np.concatenate([RGB, alpha], axis=2), extra=[2])
    np.testing.assert_array_equal(read_photo(path, use_alpha=True).mask, alpha[..., 0] == 255)


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_becomes_rgb(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    flat = np.full((6, 5, 3), (200, 90, 30), np.uint8)
    Image.fromarray(flat).convert("CMYK").save(path, quality=95)
    assert np.abs(read(path).astype(int) - flat).max() <= 4


@pytest.mark.parametrize("bands", [2, 4])
def test_transparency_of_16_bit_pngs_counts(bands: int, tmp_path: Path) -> None:
    pixels = np.concatenate([RGB, np.full((6, 5, 1), 255, np.uint8)], axis=2)[..., -bands:]
    pixels = np.where(np.arange(5)[:, None] < 2, 0, pixels).astype(">u2") * 257
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", 5, 6, 16, 4 if bands == 2 else 6, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    ]
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    photo = read_photo(path, use_alpha=True)
    assert photo.mask is not None
    np.testing.assert_array_equal(photo.mask, np.arange(5)[None, :].repeat(6, axis=0) >= 2)
    expected = RGB[..., 2:].repeat(3, axis=2) if bands == 2 else RGB
    np.testing.assert_array_equal(photo.pixels[photo.mask], expected[photo.mask])


def heic_start() -> bytes:
    return b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)


def test_a_heic_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    path = tmp_path / "a.jpg"  # phones' cables and clouds rename them, too
    path.write_bytes(heic_start())
    with pytest.raises(SceneError) as caught:
        read_header(path)
    assert "is a HEIC photo, and pillow-heif, which reads them, is not" in str(caught.value)
    assert "pip install 'gs-densify[heif]'" in str(caught.value)


def test_a_heic_is_read(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    flat = np.full((6, 5, 3), (200, 90, 30), np.uint8).repeat(16, axis=0).repeat(16, axis=1)
    path = tmp_path / "a.heic"
    heif.from_pillow(Image.fromarray(flat)).save(path, quality=95)
    assert read_header(path).size == (80, 96)
    pixels = read_photo(path, use_alpha=True).pixels
    assert np.abs(pixels.astype(int) - flat).max() <= 6
    path.write_bytes(heic_start())
    with pytest.raises(SceneError, match=r"a\.heic cannot be read as a photo"):
        read_header(path)


@pytest.mark.parametrize(("name", "tags"), [("a.dng", ()), ("a.tif", [(50706, 1, [1, 4, 0, 0])])])
def test_of_a_raw_photo_no_preview_is_read(name: str, tags: Sequence, tmp_path: Path) -> None:
    path = write_tiff(tmp_path / name, RGB, tags=tags)
    with pytest.raises(SceneError) as caught:
        read_header(path)
    assert "is a raw photo, of which only a preview can be read" in str(caught.value)
    assert "a.jpg or a.png beside it or in its place is found" in str(caught.value)


def test_a_tiff_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", RGB, apart=True)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(SceneError, match="cannot be read as a photo"):
        read_photo(path, use_alpha=False)
