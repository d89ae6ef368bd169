"""Everything that a model says about itself, checked before a photo is opened."""

import numpy as np

from gs_densify.errors import SceneError
from gs_densify.scene.consistency.intrinsics import check_intrinsics
from gs_densify.scene.consistency.observed import check_observations
from gs_densify.scene.consistency.sight import check_sight
from gs_densify.scene.doubt import Doubt
from gs_densify.scene.formats.base import SceneModel
from gs_densify.scene.normalize import camera_centers, is_usable_point


def check_model(model: SceneModel, *, needs_points: bool = True) -> list[Doubt]:
    """Checks that cameras are possible ones, see the points, and see them where photos did.

    Args:
        model: as a format gives it.
        needs_points: whether a run starts from the points. If not, what may be wrong with them
            alone is doubted where it would be refused.

    Raises:
        SceneError: something that is wrong for certain, with what to do about it.
    """
    doubts = check_intrinsics(model)
    if not len(model.points):
        return doubts
    centers = camera_centers(np.stack([image.cam_from_world for image in model.images]))
    usable = model.points[is_usable_point(model.points, centers)]
    try:
        if len(usable):
            doubts += check_sight(model, usable)
        return doubts + check_observations(model)
    except SceneError as error:
        if needs_points:
            raise
        return [*doubts, Doubt(error.found, error.action)]
