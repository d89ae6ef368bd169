"""Image files to arrays.

EXIF orientation is ignored, as COLMAP ignores it: poses and intrinsics refer to stored pixels.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeVar

import numpy as np
from PIL import Image

from gs_densify.errors import SceneError
from gs_densify.scene.photos.open import has_alpha, open_photo
from gs_densify.scene.scene import Size

_Result = TypeVar("_Result")

COUNTS_ABOVE = 127
"""Masks and alpha channels count a pixel above this value: edges and JPEG noise do no harm."""

_EXIF_ORIENTATION = 0x0112
_LFS_POINTER = b"version https://git-lfs"


class Photo(NamedTuple):
    """Pixels [H, W, 3] uint8 RGB, and the mask [H, W] bool of those that count (None: all)."""

    pixels: np.ndarray
    mask: np.ndarray | None

    @property
    def is_blank(self) -> bool:
        """Returns whether no pixel counts."""
        return self.mask is not None and not self.mask.any()


class Header(NamedTuple):
    """What a photo says about itself."""

    size: Size
    is_transparent: bool
    """Whether its alpha channel is there and not opaque everywhere."""


def read_header(path: Path) -> Header:
    """Returns size and transparency of a photo; decodes only those that have an alpha channel."""
    return _read(path, _header, is_header=True)


def is_turned_by_exif(path: Path) -> bool:
    """Returns whether the EXIF orientation asks viewers to show the photo turned by 90 degrees."""
    turned = (5, 6, 7, 8)
    return _read(path, lambda im: im.getexif().get(_EXIF_ORIENTATION) in turned, is_header=True)


def read_photo(path: Path, *, use_alpha: bool) -> Photo:
    """Decodes a photo.

    Grey is repeated; 16-bit grey is rounded to 8 bits; of 16-bit colour Pillow keeps the upper
    byte. CMYK becomes RGB without its colour profile, as in COLMAP; a fourth band that is not
    called an alpha channel is left out. With ``use_alpha`` an alpha channel becomes the mask; else
    transparent pixels have the colours that are stored for them, and count.

    Raises:
        SceneError: a file that cannot be decoded completely, or a colour space that has no exact
            way to 8-bit RGB.
    """

    def decode(image: Image.Image) -> Photo:
        return Photo(_rgb(image, path), _opaque(image) if use_alpha else None)

    return _read(path, decode)


def read_mask(path: Path) -> np.ndarray:
    """Decodes a mask file to [H, W] bool: white counts, or opaque where it has transparency.

    Raises:
        SceneError: a file that cannot be decoded completely, or is neither grey nor colour.
    """

    def decode(image: Image.Image) -> np.ndarray:
        opaque = _opaque(image)
        if opaque is not None:
            return opaque
        return _rgb(image, path).max(axis=2) > COUNTS_ABOVE

    return _read(path, decode)


def _header(image: Image.Image) -> Header:
    return Header(image.size, _opaque(image) is not None)


def _opaque(image: Image.Image) -> np.ndarray | None:
    """Returns the mask [H, W] bool of an alpha channel; None without one, and where it is opaque
    throughout.
    """
    if not has_alpha(image):
        return None
    alpha = np.asarray(image.convert("RGBA").getchannel("A"))
    return None if alpha.min() == 255 else alpha > COUNTS_ABOVE


def _rgb(image: Image.Image, path: Path) -> np.ndarray:
    """Returns [H, W, 3] uint8 of an opened image."""
    is_deep = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG")
    if is_deep:
        # 65535 = 257 * 255, so dividing by 257 takes white to white.
        grey = np.asarray(image).astype(np.float64)
        return np.repeat(np.rint(grey / 257.0).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode == "RGB":
        return np.array(image)
    if has_alpha(image):
        return np.array(image.convert("RGBA").convert("RGB"))
    if image.mode not in ("1", "L", "P", "YCbCr", "CMYK", "RGBA", "RGBX"):
        _refuse(path, f"has pixels of mode {image.mode}", "save it as 8-bit RGB")
    return np.array(image.convert("RGB"))


def unreadable(path: Path, error: Exception) -> SceneError:
    """Returns what to raise where a decoder failed at `path` with `error`."""
    if isinstance(error, Image.DecompressionBombError):
        return SceneError(
            f"{path} has more than a thousand megapixels",
            expected="expected a photo that fits into memory",
            action="make smaller copies of all photos in images_8/, and give --downscale 8",
        )
    if _begins_with(path, _LFS_POINTER):
        return SceneError(
            f"{path} is a pointer of Git LFS, not the photo",
            action="run git lfs pull in its repository",
        )
    reason = " ".join(str(error).split())
    return SceneError(
        f"{path} cannot be read as a photo ({reason})",
        expected="expected an intact image file",
        action="copy it again from its source",
    )


def _begins_with(path: Path, start: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(start)) == start
    except OSError:
        return False


def _read(path: Path, use: Callable[[Image.Image], _Result], *, is_header: bool = False) -> _Result:
    try:
        with open_photo(path) as image:
            if is_header or image.format != "PNG":
                return use(image)
            image.verify()  # the checksums, which decoding ignores
        with open_photo(path) as image:
            return use(image)
    except (SceneError, MemoryError):
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError and others
        raise unreadable(path, error) from None


def _refuse(path: Path, what: str, action: str) -> NoReturn:
    raise SceneError(
        f"{path} {what}",
        expected="expected RGB or grey pixels",
        action=action,
    )
