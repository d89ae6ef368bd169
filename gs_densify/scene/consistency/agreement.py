"""How well colours of points fit photos at given poses.

SfM colours a point as photos show it. Where photo, pose and point belong together, the photo has
that colour at the point rather than a little beside it; where they do not, as often beside it. What
is bright or dark on the whole does not matter to this, nor exposure, by which photos are made alike
with the points; points that something hides weaken it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gs_densify.scene.consistency.turns import AS_THEY_ARE, Turn
from gs_densify.scene.in_view import project_pinhole
from gs_densify.scene.photos.decode import Photo
from gs_densify.scene.scene import View

_BESIDE = 0.02
"""How far from a point the places beside it are, over the diagonal."""
_DIRECTIONS = 2 * np.pi * np.arange(8) / 8
_CELLS = 8
"""Parts of the picture on each axis; points behind the nearest of their part may be hidden."""
_DEEPER = 1.1


@dataclass(frozen=True)
class Agreement:
    """How well points fit photos."""

    fits: float
    """Number of places beside points that fit their colours less; half for those that fit alike."""
    places: int

    @property
    def share(self) -> float:
        """Returns the share of places that fit less; 0 without any."""
        return self.fits / self.places if self.places else 0.0


def joint(found: Sequence[Agreement]) -> Agreement:
    """Returns the agreement of several photos together."""
    return Agreement(sum(one.fits for one in found), sum(one.places for one in found))


@dataclass(frozen=True, eq=False)
class Comparison:
    """Photos and points to compare."""

    views: tuple[View, ...]
    photos: list[Photo]
    points: np.ndarray
    """[P, 3]"""
    colors: np.ndarray
    """[P, 3] float32, 0 to 255."""

    def of_all(self, poses: np.ndarray, turn: Turn = AS_THEY_ARE) -> Agreement:
        """Returns the agreement of all photos at poses [N, 4, 4] in the world of the points."""
        return joint([self.of_photo(i, pose, turn) for i, pose in enumerate(poses)])

    def of_photo(self, index: int, pose: np.ndarray, turn: Turn = AS_THEY_ARE) -> Agreement:
        """Returns the agreement of a photo at a pose [4, 4]."""
        view, (pixels, mask) = self.views[index], self.photos[index]
        height, width = pixels.shape[:2]
        if turn.swaps_sides and not 0.99 < width / height < 1.01:
            return Agreement(0.0, 0)
        at, depths = project_pinhole(pose, view.K, self.points)
        at /= [view.width, view.height]
        seen = np.flatnonzero((depths > 0) & ((at >= 0) & (at < 1)).all(axis=1))
        if not len(seen) or at[seen].std(axis=0).max() < 2 * _BESIDE:
            return Agreement(0.0, 0)  # the places beside are those of the other points
        seen = seen[_is_in_front(at[seen], depths[seen])]
        places, colors = turn.apply(at[seen]), self.colors[seen]
        own, counts = _colors_at(pixels, mask, places)
        level, contrast = own.mean(axis=0), own.std(axis=0) + 1.0
        colors = (colors - colors.mean(axis=0)) / (colors.std(axis=0) + 1.0)
        distance = np.abs((own - level) / contrast - colors).sum(axis=1)
        beside = _BESIDE * np.hypot(width, height) / np.array([width, height])
        fits, number = 0.0, 0
        for angle in _DIRECTIONS:
            offset = beside * [np.cos(angle), np.sin(angle)]
            other, other_counts = _colors_at(pixels, mask, places + offset)
            further = np.abs((other - level) / contrast - colors).sum(axis=1)
            both = counts & other_counts
            fits += float(((distance < further) + 0.5 * (distance == further))[both].sum())
            number += int(both.sum())
        return Agreement(fits, number)


def _is_in_front(at: np.ndarray, depths: np.ndarray) -> np.ndarray:
    """Returns whether each point [P, 2] is among the nearest of its part of the picture."""
    cells = (at * _CELLS).astype(np.int64) @ np.array([1, _CELLS])
    nearest = np.full(_CELLS**2, np.inf)
    np.minimum.at(nearest, cells, depths)
    return np.asarray(depths < _DEEPER * nearest[cells])


def _colors_at(
    pixels: np.ndarray, mask: np.ndarray | None, places: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the colours [P, 3] float32 at places [P, 2], and which of these count."""
    height, width = pixels.shape[:2]
    counts = np.asarray(((places >= 0) & (places < 1)).all(axis=1))
    column, row = (places * [width, height]).astype(np.int64).T
    column, row = column.clip(0, width - 1), row.clip(0, height - 1)
    if mask is not None:
        counts &= mask[row, column]
    return pixels[row, column].astype(np.float32), counts
