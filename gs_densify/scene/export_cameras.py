"""The cameras of a scene for other programs."""

from typing import Any

import numpy as np

from gs_densify.scene.georeference import offset_of, shifted
from gs_densify.scene.normalize import transform_poses
from gs_densify.scene.scene import Scene


def inria_cameras(scene: Scene) -> list[dict[str, Any]]:
    """Returns the cameras as Inria's `cameras.json` has them, test views first, which SuperSplat
    imports.

    In COLMAP's frame, or the local one in which the model's files are (`georeference`): `position`
    is the centre, the columns of `rotation` are the camera's axes (x right, y down, z forward).
    Sizes and focal lengths are in pixels of the photos that were used; the layout has no place for
    a principal point.
    """
    views = [*scene.test_views, *scene.train_views]
    poses = np.stack([view.cam_from_world for view in views])
    colmap_from_normalized = np.linalg.inv(scene.normalized_from_colmap)
    offset = offset_of(colmap_from_normalized)
    if offset is not None:
        colmap_from_normalized = shifted(colmap_from_normalized, offset)
    world_from_cam = np.linalg.inv(transform_poses(colmap_from_normalized, poses))
    return [
        {
            "id": i,
            "img_name": view.name,
            "width": view.width,
            "height": view.height,
            "position": pose[:3, 3].tolist(),
            "rotation": pose[:3, :3].tolist(),
            "fy": float(view.K[1, 1]),
            "fx": float(view.K[0, 0]),
        }
        for i, (view, pose) in enumerate(zip(views, world_from_cam, strict=True))
    ]
