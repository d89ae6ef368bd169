"""Everything that a model says about itself, checked before a photo is opened."""

import numpy as np

from gs_densify.scene.consistency.intrinsics import check_intrinsics
from gs_densify.scene.consistency.observed import check_observations
from gs_densify.scene.consistency.sight import check_sight
from gs_densify.scene.doubt import Doubt
from gs_densify.scene.formats.base import SceneModel
from gs_densify.scene.normalize import camera_centers, is_usable_point


def check_model(model: SceneModel) -> list[Doubt]:
    """Checks that cameras are possible ones, see the points, and see them where photos did.

    Raises:
        SceneError: something that is wrong for certain, with what to do about it.
    """
    doubts = check_intrinsics(model)
    if not len(model.points):
        return doubts
    centers = camera_centers(np.stack([image.cam_from_world for image in model.images]))
    usable = model.points[is_usable_point(model.points, centers)]
    if len(usable):
        doubts += check_sight(model, usable)
    return doubts + check_observations(model)
