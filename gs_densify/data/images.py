"""Photos: sizes from file headers and pixels as 8-bit RGB, in parallel threads.

EXIF orientation is ignored, as COLMAP ignores it: poses and intrinsics refer to stored pixels.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn, TypeVar

import numpy as np
from PIL import Image
from tqdm import tqdm

from gs_densify.data.scene import Size, View
from gs_densify.errors import SceneError

_Result = TypeVar("_Result")
_Item = TypeVar("_Item")


def load_images(
    views: Sequence[View], *, workers: int | None = None, progress: bool = True
) -> list[np.ndarray]:
    """Decode the photos of ``views``.

    Args:
        views: the views, whose sizes the photos must have.
        workers: threads; by default one per processor, at most 16.
        progress: show a bar on a terminal.

    Returns:
        One [height, width, 3] uint8 RGB array per view, in their order. Grey is repeated; 16-bit
        grey is rounded to 8 bits; of 16-bit colour Pillow keeps the upper byte.

    Raises:
        SceneError: a photo that cannot be decoded completely, has another size than its view,
            has transparent pixels, or a colour space that has no exact way to 8-bit RGB.
    """
    return _in_threads(load_image, views, "photos", workers, progress)


def load_image(view: View) -> np.ndarray:
    """Decode one photo; see ``load_images``."""
    pixels = _read(view.path, _decode)
    height, width = pixels.shape[:2]
    if (width, height) != (view.width, view.height):
        raise SceneError(
            f"{view.path} decodes to {width}x{height}; expected {view.width}x{view.height} as"
            " when the scene was loaded; leave photos alone while they are in use."
        )
    return pixels


def read_sizes(paths: Sequence[Path], *, workers: int | None = None) -> list[Size]:
    """Sizes (width, height) from the headers of photos; ``SceneError`` names one without."""
    return _in_threads(lambda path: _read(path, _size), paths, "headers", workers, False)


def _in_threads(
    function: Callable[[_Item], _Result],
    items: Sequence[_Item],
    unit: str,
    workers: int | None,
    progress: bool,
) -> list[_Result]:
    """Map in order; the first error cancels what has not begun."""
    with ThreadPoolExecutor(workers or min(16, os.cpu_count() or 1)) as pool:
        results: Iterable[_Result] = pool.map(function, items)
        # None: tqdm shows the bar on terminals only.
        hide = None if progress else True
        return list(tqdm(results, total=len(items), desc=unit, disable=hide, leave=False))


def _read(path: Path, use: Callable[[Image.Image, Path], _Result]) -> _Result:
    try:
        with Image.open(path) as image:
            return use(image, path)
    except (SceneError, MemoryError):
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError and others
        reason = " ".join(str(error).split())
        raise SceneError(
            f"{path} cannot be read as a photo ({reason}); expected an intact image file;"
            " copy it again from its source."
        ) from None


def _size(image: Image.Image, path: Path) -> Size:
    return image.size


def _decode(image: Image.Image, path: Path) -> np.ndarray:
    """[H, W, 3] uint8 of an opened image."""
    image.load()
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema()[0] != 255:
            _refuse(path, "has transparent pixels", "save it without an alpha channel")
    elif image.mode.startswith("I;16"):
        # 65535 = 257 * 255, so dividing by 257 takes white to white.
        grey = np.asarray(image).astype(np.float64)
        return np.repeat(np.rint(grey / 257.0).astype(np.uint8)[..., None], 3, axis=2)
    elif image.mode not in ("1", "L", "P", "RGB", "YCbCr"):
        _refuse(path, f"has pixels of mode {image.mode}", "save it as 8-bit RGB")
    return np.array(image.convert("RGB"))


def _refuse(path: Path, what: str, action: str) -> NoReturn:
    raise SceneError(f"{path} {what}; expected opaque RGB or grey pixels; {action}.")
