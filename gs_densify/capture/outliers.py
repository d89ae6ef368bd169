"""Photos that stand out from their neighbours, and photos that show the same twice."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import median_filter
from scipy.spatial import cKDTree

from gs_densify.capture.photos import PhotoMeasures

WINDOW = 11
"""Photos next to each other in name order, which is the order of most captures."""
LARGEST_Z = 3.5
"""Beyond it a value counts as an outlier (Iglewicz and Hoaglin 1993)."""
_MAD_TO_SIGMA = 1.4826
FEWEST = 5
"""Photos below which nothing can be said to stand out."""

BLUR_RATIO = 0.35
EXPOSURE_RATIO = 1.4
CLIPPED_EXCESS = 0.02
"""Besides its z-score, how far a value must be off before it matters to anyone."""

_SAME_PLACE, _SAME_DIRECTION, _SAME_PIXELS = 0.01, np.radians(1.0), 3.0


@dataclass(frozen=True)
class Outlier:
    """A photo and by how much it differs from its neighbours."""

    name: str
    z: float
    """Robust z-score."""
    value: float
    """Ratio to the neighbours, or for clipped highlights the share itself."""


def robust_z(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Differences [N] to the median of the `WINDOW` neighbours, and their robust z-scores [N].

    The z-score divides by 1.4826 times the median absolute difference, which for normally
    distributed differences is their standard deviation.
    """
    values = np.asarray(values, dtype=np.float64)
    if len(values) < FEWEST:
        return np.zeros(len(values)), np.zeros(len(values))
    differences = values - median_filter(values, size=min(WINDOW, len(values)), mode="mirror")
    spread = _MAD_TO_SIGMA * float(np.median(np.abs(differences)))
    return differences, differences / max(spread, 1e-9)


def blurred(photos: Sequence[PhotoMeasures]) -> list[Outlier]:
    """Returns photos with far less fine detail than their neighbours, the worst first."""
    logs = np.log([max(photo.sharpness, 1e-9) for photo in photos])
    differences, z = robust_z(logs)
    is_off = (z < -LARGEST_Z) & (differences < np.log(BLUR_RATIO))
    return _listed(photos, is_off, z, np.exp(differences))


def badly_exposed(photos: Sequence[PhotoMeasures]) -> list[Outlier]:
    """Returns photos that are much brighter or darker than their neighbours."""
    logs = np.log([max(photo.brightness, 1.0) for photo in photos])
    differences, z = robust_z(logs)
    is_off = (np.abs(z) > LARGEST_Z) & (np.abs(differences) > np.log(EXPOSURE_RATIO))
    return _listed(photos, is_off, z, np.exp(differences))


def clipped(photos: Sequence[PhotoMeasures]) -> list[Outlier]:
    """Returns photos with far more clipped highlights than their neighbours."""
    shares = np.array([photo.clipped for photo in photos])
    differences, z = robust_z(shares)
    is_off = (z > LARGEST_Z) & (differences > CLIPPED_EXCESS)
    return _listed(photos, is_off, z, shares)


def near_duplicates(
    photos: Sequence[PhotoMeasures],
    centers: np.ndarray,
    directions: np.ndarray,
    distance: float,
) -> list[tuple[str, str]]:
    """Pairs of photos from the same place, in the same direction, with the same pixels.

    Args:
        photos: those with a pose.
        centers: [N, 3] camera centres.
        directions: [N, 3] unit viewing directions.
        distance: typical distance to the scene, of which a hundredth counts as the same place.
    """
    pairs = cKDTree(centers).query_pairs(_SAME_PLACE * distance, output_type="ndarray")
    pairs = pairs[np.lexsort(pairs.T[::-1])]
    first, second = pairs[:, 0], pairs[:, 1]
    cosines = np.einsum("ij,ij->i", directions[first], directions[second])
    near = pairs[cosines > np.cos(_SAME_DIRECTION)]
    return [
        (photos[i].name, photos[j].name)
        for i, j in near
        if np.abs(photos[i].thumbnail - photos[j].thumbnail).mean() < _SAME_PIXELS
    ]


def _listed(
    photos: Sequence[PhotoMeasures], is_off: np.ndarray, z: np.ndarray, values: np.ndarray
) -> list[Outlier]:
    worst = sorted(map(int, np.flatnonzero(is_off)), key=lambda i: -abs(z[i]))
    return [Outlier(photos[i].name, float(z[i]), float(values[i])) for i in worst]
