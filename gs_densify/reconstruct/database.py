"""What pycolmap has put into its database."""

from collections.abc import Iterable
from pathlib import Path

from gs_densify.scene.colmap_library import pycolmap


def features_of(database: Path) -> dict[str, int]:
    """Returns the number of features of each photo, by name."""
    with pycolmap.Database.open(database) as opened:
        return {
            image.name: opened.num_keypoints_for_image(image.image_id)
            for image in opened.read_all_images()
        }


def matched_photos(database: Path) -> set[str]:
    """Returns the photos that have matches with another that fit one motion of the camera."""
    with pycolmap.Database.open(database) as opened:
        names = {image.image_id: image.name for image in opened.read_all_images()}
        ids, counts = opened.read_two_view_geometry_num_inliers()
    good = [pair for pair, count in zip(ids, counts, strict=True) if count > 0]
    return {names[one] for one in _ends(good)}


def _ends(pairs: Iterable[int]) -> set[int]:
    return {one for pair in pairs for one in pycolmap.pair_id_to_image_pair(pair)}
