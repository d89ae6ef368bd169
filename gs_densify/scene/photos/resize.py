"""Smaller photos and the masks that go with them, through Pillow's filters."""

import math

import numpy as np
from PIL import Image
from scipy.ndimage import maximum_filter

from gs_densify.scene.scene import Size

_FILTERS = {
    "area": (Image.Resampling.BOX, 0.5),
    "bicubic": (Image.Resampling.BICUBIC, 2.0),
    "lanczos": (Image.Resampling.LANCZOS, 3.0),
}
"""Pillow's filter and how far it reaches, in pixels of the smaller photo."""


def is_resized(size: Size, original: Size) -> bool:
    """Returns whether ``size`` has the aspect ratio of ``original`` but for rounding to pixels."""
    error_x = abs(size[0] - size[1] * original[0] / original[1])
    error_y = abs(size[1] - size[0] * original[1] / original[0])
    return min(error_x, error_y) <= 1.5 or error_x <= 0.01 * size[0]


def reduced_size(size: Size, factor: int) -> Size:
    """Returns ``size`` over ``factor``, rounded as gsplat rounds (half to even), at least 1."""
    return max(1, round(size[0] / factor)), max(1, round(size[1] / factor))


def resize_photo(pixels: np.ndarray, size: Size, filter_name: str) -> np.ndarray:
    """Returns the photo [H, W, 3] uint8 at ``size`` (width, height)."""
    kernel, _ = _FILTERS[filter_name]
    return np.array(Image.fromarray(pixels).resize(size, kernel))


def resize_mask(counts: np.ndarray, size: Size, filter_name: str = "area") -> np.ndarray:
    """Returns the mask [H, W] bool at ``size``: a pixel counts only if all that the filter sees
    does.
    """
    height, width = counts.shape
    if (width, height) == size:
        return counts
    masked = ~counts
    reach = [
        math.ceil(max(0.0, (_FILTERS[filter_name][1] - 0.5) * old / new))
        for old, new in zip((height, width), size[::-1], strict=True)
    ]
    if any(reach):
        masked = maximum_filter(masked, size=[2 * r + 1 for r in reach])
    share = Image.fromarray(masked.astype(np.float32)).resize(size, Image.Resampling.BOX)
    return np.asarray(share) < 1e-6
