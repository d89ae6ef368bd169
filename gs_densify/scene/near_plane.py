"""How near to a camera something can be: the depth below which nothing is drawn.

Nothing stands right before a camera that took a photo of something else. Gaussians that come there
while training cost nothing in the training views, most of which never see them, and hide the whole
picture of a held-out camera; so they are cut off, where the scene leaves no doubt.
"""

from collections.abc import Sequence

import numpy as np

from gs_densify.scene.extent import camera_distance
from gs_densify.scene.in_view import depths_in_view, some_of
from gs_densify.scene.normalize import camera_centers
from gs_densify.scene.scene import View

WRONG_SHARE = 0.01
"""Share of the points in a view that may lie nearer than the nearest that counts: SfM errs."""

_LEAST, _MOST = 0.01, 0.05


def near_plane(views: Sequence[View], points: np.ndarray) -> float:
    """Returns half the depth of the nearest points of any view, and 0.01 to 0.05 camera distances.

    Those are the mean distance of the cameras to their centre, odd ones left out. 3DGS's own
    renderer stops at 0.2 in COLMAP's units, which is 0.054 of them in bonsai; gsplat at 0.01 in a
    world of about that unit.

    Args:
        views: the cameras to look from.
        points: [P, 3] in the views' world; of more than 2,000, evenly spaced ones are used.

    Returns:
        A depth in the views' world, to three digits.
    """
    centers = camera_centers(np.stack([view.cam_from_world for view in views]))
    distance = camera_distance(centers, points)
    some = some_of(points)
    nearest = min(_nearest_depth(view, some) for view in views)
    found = min(max(0.5 * nearest, _LEAST * distance), _MOST * distance)
    return float(f"{found:.3g}")


def _nearest_depth(view: View, points: np.ndarray) -> float:
    """Returns the depth of the nearest points [P, 3] in the picture, but for a few.

    It is infinite without any.
    """
    depths = depths_in_view(view.camera, points)
    return float(np.quantile(depths, WRONG_SHARE)) if len(depths) else np.inf
