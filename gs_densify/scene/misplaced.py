"""What of a model lies where nothing can be: cameras far from all others, points on a camera."""

from collections.abc import Sequence

import numpy as np

from gs_densify.scene.doubt import Doubt
from gs_densify.scene.extent import cameras_middle, odd_cameras


def doubts_of_places(
    names: Sequence[str], centers: np.ndarray, points: np.ndarray, dropped: int
) -> list[Doubt]:
    """Returns what is said of misplaced cameras and of points that are left out.

    Args:
        names: of the photos.
        centers: [N, 3], their camera centres.
        points: [P, 3], those that are used.
        dropped: how many points are left out besides.
    """
    return [*_odd_photos(names, centers, points), *_dropped_points(len(points), dropped)]


def _odd_photos(names: Sequence[str], centers: np.ndarray, points: np.ndarray) -> list[Doubt]:
    is_odd = odd_cameras(centers, points)
    if not is_odd.any():
        return []
    distances = np.linalg.norm(centers - cameras_middle(centers, points), axis=1)
    odd = [name for name, here in zip(names, is_odd, strict=True) if here]
    times = distances[is_odd][0] / max(distances[~is_odd].max(), 1e-300)
    who = f"the photo {odd[0]!r} stands" if len(odd) == 1 else f"{len(odd)} photos stand"
    first = "" if len(odd) == 1 else f", first {odd[0]!r},"
    how = f"{times:,.0f} times as far away as any other" if times < 1e9 else "far from all others"
    return [
        Doubt(
            f"{who}{first} {how}, misplaced by SfM or GPS",
            "remove it from the model, or register it anew; the scene is measured without it",
            tuple(odd),
        )
    ]


def _dropped_points(used: int, dropped: int) -> list[Doubt]:
    if not dropped:
        return []
    return [
        Doubt(
            f"{dropped:,} of {used + dropped:,} points are not finite, or lie on a camera: they"
            " are left out",
            "if they are many, check that cameras and points come from one reconstruction",
        )
    ]
