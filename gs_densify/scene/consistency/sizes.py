"""Do photos have the sizes of their cameras, or those over a whole number?"""

from collections.abc import Sequence

from gs_densify.scene.doubt import Doubt
from gs_densify.scene.formats.base import PosedImage
from gs_densify.scene.scene import Size

_SLIGHTLY = 0.1
"""Of a side: who makes photos smaller makes them a lot smaller, an undistorter a little."""


def check_sizes(images: Sequence[PosedImage], sizes: Sequence[Size], factor: int) -> list[Doubt]:
    """Compares the photos' sizes with those of cameras over the factor of their folder."""
    odd = [
        (image, size)
        for image, size in zip(images, sizes, strict=True)
        if _differs_slightly(size[0], image.width, factor)
        or _differs_slightly(size[1], image.height, factor)
    ]
    if not odd:
        return []
    image, (width, height) = odd[0]
    return [
        Doubt(
            f"{len(odd)} of {len(images)} photos differ a little in size from their cameras, first"
            f" {image.name!r} with {width}x{height} pixels, where camera {image.camera_id} has"
            f" {image.width}x{image.height}"
            + (f" (1/{factor} of it expected)" if factor > 1 else ""),
            "where COLMAP's undistorter wrote the cameras, use the photos that it wrote with them",
            tuple(image.name for image, _ in odd) if len(odd) < len(images) else (),
        )
    ]


def _differs_slightly(side: int, of_camera: int, factor: int) -> bool:
    """Returns whether a side is not that of the camera over the factor, and near to it."""
    off = abs(side * factor - of_camera)
    return 1.5 * factor < off < _SLIGHTLY * of_camera
