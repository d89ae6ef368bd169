"""Are cameras possible ones: principal points within the picture, focal lengths in pixels."""

from collections.abc import Iterable

from gs_densify.errors import SceneError
from gs_densify.scene.doubt import Doubt
from gs_densify.scene.formats.base import PosedImage, SceneModel

_SHORTEST, _SHORT = 0.1, 0.2
"""Focal lengths over the longer side. No lens is shorter than the first: 157 degrees of a pinhole,
and fisheyes that see behind themselves have 0.11 or more. The second is for pinholes, 136 degrees.
Nine ordinary captures have 0.57 to 3."""
_LONG, _LONGEST = 50.0, 1e5
"""Photos from satellites, cut into tiles, come to some thousands."""
_OFF_CENTRE = 0.2
"""Of the width or height; nine ordinary captures have 0.04 or less."""
_UNEQUAL = 2.0


def check_intrinsics(model: SceneModel) -> list[Doubt]:
    """Looks at each camera of a model.

    Raises:
        SceneError: a principal point outside of the picture, a focal length in another unit.
    """
    cameras = {image.camera_id: image for image in model.images}
    for image in cameras.values():
        _check_center(model, image)
        _check_focal(model, image)
    return list(_doubts(model, cameras.values()))


def _check_center(model: SceneModel, image: PosedImage) -> None:
    x, y = image.K[:2, 2]
    if 0 < x < image.width and 0 < y < image.height:
        return
    raise SceneError(
        f"{model.folder}: camera {image.camera_id} has its principal point at ({x:g}, {y:g}),"
        f" outside of its {image.width}x{image.height} pixels",
        expected=f"expected one near the middle, ({image.width / 2:g}, {image.height / 2:g})",
        action="write cx and cy in pixels of that size; who scales cameras scales WIDTH, HEIGHT"
        " and all parameters in pixels",
    )


def _check_focal(model: SceneModel, image: PosedImage) -> None:
    focal, longest = _relative_focal(image)
    if _SHORTEST <= focal <= _LONGEST:
        return
    raise SceneError(
        f"{model.folder}: camera {image.camera_id} has a focal length of {focal * longest:g}"
        f" pixels, and {image.width}x{image.height} pixels",
        expected="expected a focal length near the longer side, in pixels of that size",
        action="write it in pixels, not in millimetres or as a share: millimetres x width in"
        " pixels / width of the sensor",
    )


def _relative_focal(image: PosedImage) -> tuple[float, int]:
    """Returns the focal length that is further from usual over the longer side, and that side."""
    longest = max(image.width, image.height)
    low, high = sorted((image.K[0, 0] / longest, image.K[1, 1] / longest))
    return float(low if low < _SHORT else high), longest


def _doubts(model: SceneModel, images: Iterable[PosedImage]) -> Iterable[Doubt]:
    for image in images:
        where = f"{model.folder}: camera {image.camera_id} of {image.width}x{image.height}"
        focal, longest = _relative_focal(image)
        if focal > _LONG or (focal < _SHORT and image.lens is None):
            yield Doubt(
                f"{where} pixels has a focal length of {focal * longest:g} pixels",
                "check that it is in pixels of that size",
            )
        fx, fy = image.K[0, 0], image.K[1, 1]
        if max(fx, fy) > _UNEQUAL * min(fx, fy):
            yield Doubt(
                f"{where} pixels has the focal lengths {fx:g} and {fy:g}",
                "check that both are in pixels of that size",
            )
        x, y = image.K[:2, 2]
        if max(abs(x / image.width - 0.5), abs(y / image.height - 0.5)) > _OFF_CENTRE:
            yield Doubt(
                f"{where} pixels has its principal point at ({x:g}, {y:g}), far from the middle",
                "check that photos were cropped so, or that WIDTH, HEIGHT and parameters are of"
                " one size",
            )
