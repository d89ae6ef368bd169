"""Do the cameras have the points before them?"""

from collections.abc import Sequence

import numpy as np

from gs_densify.errors import SceneError
from gs_densify.scene.consistency.readings import READINGS, fitting, misread
from gs_densify.scene.consistency.samples import spread
from gs_densify.scene.doubt import Doubt
from gs_densify.scene.formats.base import PosedImage, SceneModel
from gs_densify.scene.in_view import pixels_in_view, points_in_view

_LOOKED_AT = 24
"""Photos, evenly chosen, whose typical number of points decides."""
_SAMPLED_POINTS = 5000
"""Evenly chosen, for photos in which many are in view."""
_MOST_PAIRS = 500_000
_FEW, _FEW_SHARE, _NONE = 50, 0.05, 4
"""Points in view of the typical photo, and over all points, below which it sees few; and points
below which it sees nothing. In nine ordinary captures it sees 2,000, and a quarter of all."""
_SOUND_SHARE, _MANY_MORE = 0.25, 20
"""Of all points, and times those of COLMAP's convention: poses in a convention that brings so many
into view are in that."""
_NARROW = 0.04
"""Of the diagonal: the spread of points in the typical photo; nine ordinary captures have 0.16."""


def check_sight(model: SceneModel, points: np.ndarray) -> list[Doubt]:
    """Looks for points [P, 3] before the cameras; doubts few, and what is in one spot, or nowhere.

    Raises:
        SceneError: the typical photo has no points in view, or few where poses in another
            convention would bring many.
    """
    some = points[:: -(-len(points) // _SAMPLED_POINTS)]
    images = spread(model.images, _LOOKED_AT)
    poses = np.stack([image.cam_from_world for image in images])
    share = float(np.median(_count(images, poses, some))) / len(some)
    if share >= _FEW_SHARE or share * len(points) >= _FEW:
        return [*_narrow(model, images, some), *_blind(model, some, points)]
    found = f"{model.folder}: a photo has {share:.1%} of the {len(points):,} points before it"
    by_reading = [float(np.median(_count(images, r.correct(poses), some))) for r in READINGS]
    least = max(_SOUND_SHARE, _MANY_MORE * share)
    readings = fitting([count / len(some) for count in by_reading], least)
    if readings:
        raise misread(found, readings)
    action = (
        "take cameras, images and points3D from one reconstruction, in one world and unit, with"
        " focal lengths in pixels of the photos"
    )
    if share * len(points) >= _NONE:
        return [Doubt(found, action), *_blind(model, some, points)]
    raise SceneError(
        found,
        expected="expected cameras that look at the points",
        action=f"{action}; where the points alone are wrong, gs-train --init random starts without"
        " them",
    )


def _narrow(model: SceneModel, images: Sequence[PosedImage], points: np.ndarray) -> list[Doubt]:
    """Returns a doubt about points that all appear in one spot of the pictures."""
    spreads = []
    for image in images:
        size = np.array([image.width, image.height])
        pixels = pixels_in_view(image.cam_from_world, image.K, size, points)
        if len(pixels):
            spreads.append(np.linalg.norm(pixels.std(axis=0)) / np.linalg.norm(size))
    if len(points) < _FEW or np.median(spreads) >= _NARROW:
        return []
    return [
        Doubt(
            f"{model.folder}: the points all appear in one spot of the pictures, spread over"
            f" {np.median(spreads):.2%} of the diagonal",
            "check that cameras and points are in one unit, and focal lengths in pixels",
        )
    ]


def _blind(model: SceneModel, some: np.ndarray, points: np.ndarray) -> list[Doubt]:
    """Returns a doubt about photos that have none of the points in view; `some` spare looking."""
    poses = np.stack([image.cam_from_world for image in model.images])
    few = some[:: -(-len(some) * len(poses) // _MOST_PAIRS)]
    suspects = [
        image
        for image, count in zip(model.images, _count(model.images, poses, few), strict=True)
        if count == 0
    ]
    blind = [
        image.name
        for image in suspects
        if _count([image], image.cam_from_world[None], points)[0] == 0
    ]
    if not blind:
        return []
    plural = "photos have" if len(blind) > 1 else "photo has"
    return [
        Doubt(
            f"{len(blind)} {plural} no point of {model.folder} in view, first {blind[0]!r}",
            "look at where they were taken, and remove them from the model if that is wrong; where"
            " they are many, bring cameras and points into one world and unit",
            tuple(blind),
        )
    ]


def _count(images: Sequence[PosedImage], poses: np.ndarray, points: np.ndarray) -> np.ndarray:
    K = np.stack([image.K for image in images])
    sizes = np.array([(image.width, image.height) for image in images])
    return points_in_view(poses, K, sizes, points)
