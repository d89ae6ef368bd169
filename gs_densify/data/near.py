"""How near to a camera something can be: the depth below which nothing is drawn.

Nothing stands right before a camera that took a photo of something else. Gaussians that come there
while training cost nothing in the training views, most of which never see them, and hide the whole
picture of a held-out camera; so they are cut off, where the scene leaves no doubt.
"""

from collections.abc import Sequence

import numpy as np

from gs_densify.data.normalize import camera_centers, camera_distance
from gs_densify.data.scene import View

NEAREST_SHARE = 1e-3
"""Share of the points in view that may lie nearer than the nearest that counts: SfM errs."""

_LARGEST = 0.05
_MOST_VIEWS, _MOST_POINTS = 64, 20_000


def near_plane(views: Sequence[View], points: np.ndarray) -> float:
    """Half the depth of the nearest points, at most a twentieth of the cameras' distance.

    That is their mean distance to their centre. 3DGS's own renderer stops at 0.2 in COLMAP's units,
    which is as much in bonsai, and gsplat at 0.01 in units of about that distance.

    Args:
        views: the cameras to look from; of more than 64, evenly spaced ones are used.
        points: [P, 3] in the views' world; of more than 20,000, evenly spaced ones are used.
    """
    poses = np.stack([view.cam_from_world for view in views])
    largest = _LARGEST * camera_distance(camera_centers(poses), points)
    some = points[:: -(-len(points) // _MOST_POINTS) or 1]
    chosen = views[:: -(-len(views) // _MOST_VIEWS)]
    depths = np.concatenate([_depths_in_view(view, some) for view in chosen])
    if not len(depths):
        return largest
    return min(largest, 0.5 * float(np.quantile(depths, NEAREST_SHARE)))


def _depths_in_view(view: View, points: np.ndarray) -> np.ndarray:
    """Depths of the points [P, 3] that are in the picture."""
    rotation, translation = view.cam_from_world[:3, :3], view.cam_from_world[:3, 3]
    positions = points @ rotation.T + translation
    in_front = positions[positions[:, 2] > 0]
    pixels = (in_front @ view.K.T)[:, :2] / in_front[:, 2:]
    inside = ((pixels >= 0) & (pixels < (view.width, view.height))).all(axis=1)
    return np.asarray(in_front[inside, 2])
