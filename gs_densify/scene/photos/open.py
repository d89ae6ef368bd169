"""Opens image files: through Pillow, which is told of formats that it does not know by itself.

Pillow goes by what a file holds, not by its name, and some formats run programs: it is told which
ones it may read.
"""

import importlib
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from gs_densify.errors import SceneError
from gs_densify.scene.photos.names import PHOTO_SUFFIXES

# Pillow's own limit is against files that unpack to more than memory holds. It refuses photos of
# 200 megapixels, which telephones take; this one is above every camera.
Image.MAX_IMAGE_PIXELS = 500_000_000  # a warning; an error at twice that

_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF", "JPEG2000", "PPM", "TGA")
_AVIF = ("AVIF",) if find_spec("PIL.AvifImagePlugin") else ()

_HEIF_BRANDS = ("heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1")
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _PLANAR = 258, 259, 262, 277, 284
_EXTRA_SAMPLES, _DNG_VERSION = 338, 50706

# Mapping programs call the first of several bands grey, and the others extra ones.
for _order, _suffix in ((b"II", "L"), (b"MM", "B")):
    for _bits, _raw in ((8, ""), (16, f";16{_suffix}")):
        for _bands, _mode in ((3, "RGB"), (4, "RGBX")):
            _key = (_order, 1, (1,), 1, (_bits,) * _bands, (0,) * (_bands - 1))
            TiffImagePlugin.OPEN_INFO.setdefault(_key, ("RGB", _mode + _raw))


def open_photo(path: Path) -> Image.Image:
    """Opens an image file, whose pixels may still have to be decoded. HEIC needs pillow-heif.

    Raises:
        SceneError: it takes a package that is not there, or Pillow would not read it rightly: a raw
            photo, of which it sees a preview, and some TIFFs.
        Exception: whatever Pillow raises.
    """
    try:
        image = _open(path, (*_FORMATS, *_AVIF))
    except UnidentifiedImageError:
        start = _start(path)
        if start[4:8] == b"ftyp" and start[8:12].decode("latin-1") in _HEIF_BRANDS:
            return _open_heif(path)
        if start[:4] in _TIFF_STARTS:
            raise _unread_tiff(path) from None
        raise
    if image.format == "TIFF":
        _check_tiff(path, image)
    return image


def open_picture(path: Path) -> Image.Image:
    """Opens a picture that a run has written, a PNG.

    Raises:
        Exception: whatever Pillow raises.
    """
    return _open(path, ("PNG",))


def _open(path: Path, formats: tuple[str, ...]) -> Image.Image:
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise SceneError(f"{path} is no regular file", action="put the photo itself there")
    return Image.open(path, formats=formats)


def has_alpha(image: Image.Image) -> bool:
    """Returns whether an image says which of its pixels are transparent.

    A fourth band of a TIFF that is not called so, such as near infrared, is none.
    """
    if image.format == "TIFF" and _EXTRA_SAMPLES not in image.tag_v2:  # type: ignore[attr-defined]
        return False
    return image.mode in ("RGBA", "RGBa", "LA", "PA") or "transparency" in image.info


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(12)


def _open_heif(path: Path) -> Image.Image:
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError:
        raise SceneError(
            f"{path} is a HEIC photo, and pillow-heif, which reads them, is not installed",
            action="pip install 'gs-densify[heif]', or convert the photos to JPEG: they are found"
            " under the same names",
        ) from None
    return _open(path, ("HEIF",))


def _check_tiff(path: Path, image: Image.Image) -> None:
    """Refuses a raw photo, and bands one after another that Pillow mixes up."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    if _DNG_VERSION in tags or path.suffix.lower() not in (*PHOTO_SUFFIXES, ""):
        image.close()
        raise SceneError(
            f"{path} is a raw photo, of which only a preview can be read",
            expected="expected a developed photo",
            action=f"convert it: {path.stem}.jpg or {path.stem}.png beside it or in its place is"
            " found",
        )
    is_plain_rgb = tags.get(_SAMPLES) == 3 and tags.get(_PHOTOMETRIC) == 2
    is_deep = max(tags.get(_BITS, (8,))) > 8 and tags.get(_COMPRESSION, 1) == 1
    if tags.get(_PLANAR) == 2 and tags.get(_SAMPLES, 1) > 1 and (is_deep or not is_plain_rgb):
        image.close()
        raise _unread_tiff(path)


def _unread_tiff(path: Path) -> SceneError:
    return SceneError(
        f"{path} is a TIFF whose bands, by number, type or order, are not read",
        expected="expected red, green and blue of 8 or 16 bits, pixel by pixel",
        action="convert it, e.g. gdal_translate -b 1 -b 2 -b 3 -co INTERLEAVE=PIXEL -co"
        " PHOTOMETRIC=RGB",
    )
