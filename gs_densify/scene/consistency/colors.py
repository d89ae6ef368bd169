"""Do photos show the colours of the points where these project to? If not, what else would fit?"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from gs_densify.errors import SceneError
from gs_densify.scene.consistency.agreement import Agreement, Comparison, joint
from gs_densify.scene.consistency.readings import READINGS, fitting, misread
from gs_densify.scene.consistency.samples import spread
from gs_densify.scene.consistency.turns import TURNS
from gs_densify.scene.doubt import Doubt
from gs_densify.scene.normalize import transform_points, transform_poses
from gs_densify.scene.photos.decode import Photo
from gs_densify.scene.scene import Scene, View

_LOOKED_AT = 24
"""Photos, evenly chosen."""
_MOST_POINTS = 4000
_LEAST_SPREAD, _FEWEST_POINTS = 4.0, 50
"""Standard deviation of the points' colours, of 255, and their number: all of one colour, or at one
place, they say nothing."""

# Of nine ordinary captures, all photos of one fit at 0.64 to 0.91, and single ones at 0.52 or more
# (0.55 but for one in the dark). With photos or poses of something else, turned photos or other
# conventions, all fit at 0.49 to 0.52, and single ones at 0.56 or less.
_DISAGREE, _AGREE = 0.57, 0.6
_PHOTO_DISAGREES = 0.53
_FEWEST, _FEWEST_IN_PHOTO = 1600, 800
"""Places, eight a point, of which anything is said."""
_MANY = 0.2
"""Share of photos that disagree without a reason, of which more is no accident."""
_TRIED = 3
"""Photos for which poses of all others are tried."""
_NEIGHBOURS, _COMPARED = 8, 8
"""Poses before and after one by name, and photos for which they are tried."""
_LEAD = 0.03
"""By how much a photo fits better at its own pose than at all others. In nine ordinary captures the
median photo does by 0.08 or more against these neighbours."""


def looked_at(scene: Scene) -> tuple[View, ...]:
    """Returns the views whose photos `check_colors` wants in any case."""
    return tuple(spread(scene.views, _LOOKED_AT))


def all_doubts(scene: Scene, photo_of: Callable[[View], Photo]) -> list[Doubt]:
    """Returns what is probably wrong with a scene, first what concerns all photos.

    Arguments and errors are those of `check_colors`.
    """
    found = [*scene.doubts, *check_colors(scene, photo_of)]
    return sorted(found, key=lambda doubt: bool(doubt.photos))


def check_colors(scene: Scene, photo_of: Callable[[View], Photo]) -> list[Doubt]:
    """Compares the colours of points with some photos.

    Args:
        scene: in any world.
        photo_of: gives a photo as it is trained on, of the views `looked_at` and a few others.

    Raises:
        SceneError: they disagree, and would not with photos turned or under other names, or poses
            of another convention.
    """
    if len(scene.points) < _FEWEST_POINTS:
        return []
    step = -(-len(scene.points) // _MOST_POINTS)
    colors = scene.colors[::step].astype(np.float32)
    points = scene.points[::step].astype(np.float64)
    if colors.std(axis=0).max() < _LEAST_SPREAD or len(np.unique(points, axis=0)) < _FEWEST_POINTS:
        return []
    from_normalized = np.linalg.inv(scene.normalized_from_colmap)
    views = looked_at(scene)
    comparison = Comparison(
        views,
        [photo_of(view) for view in views],
        transform_points(from_normalized, points),
        colors,
    )
    poses = transform_poses(
        from_normalized, np.stack([view.cam_from_world for view in scene.views])
    )
    return _Verdict(scene, comparison, poses, photo_of).doubts()


@dataclass(frozen=True, eq=False)
class _Verdict:
    """What to say of a comparison."""

    scene: Scene
    comparison: Comparison
    every_pose: np.ndarray
    """[V, 4, 4] of all views, in COLMAP's world."""
    photo_of: Callable[[View], Photo]

    @cached_property
    def rows(self) -> list[int]:
        """Returns which of the views the photos that are compared are."""
        row = {view.name: i for i, view in enumerate(self.scene.views)}
        return [row[view.name] for view in self.comparison.views]

    @cached_property
    def own(self) -> list[Agreement]:
        """Returns how well each photo fits where it was taken."""
        return [self.comparison.of_photo(i, self.every_pose[k]) for i, k in enumerate(self.rows)]

    @property
    def low(self) -> list[int]:
        """Returns which photos disagree, each by itself."""
        return [
            i
            for i, one in enumerate(self.own)
            if one.places >= _FEWEST_IN_PHOTO and one.share < _PHOTO_DISAGREES
        ]

    def doubts(self) -> list[Doubt]:
        """Returns what is doubtful, or raises what is wrong for certain."""
        together = joint(self.own)
        if together.places >= _FEWEST and together.share < _DISAGREE:
            return self._all_disagree(together.share)
        self._check_order()
        return list(self._some_disagree())

    def _all_disagree(self, share: float) -> list[Doubt]:
        where = (
            f"photos in {self.scene.root} do not show the colours of the points where these project"
            f" to ({share:.0%} fit better than places beside; by chance it is 50%)"
        )
        poses = self.every_pose[self.rows]
        for turn in TURNS:
            if _agrees(self.comparison.of_all(poses, turn), _FEWEST):
                raise SceneError(
                    f"{where}: the photos seem to be {turn.name}",
                    expected="expected the photos as COLMAP saw them",
                    action="turn their pixels back; COLMAP ignores EXIF orientations",
                )
        found = [self.comparison.of_all(reading.correct(poses)) for reading in READINGS]
        shares = [one.share if _agrees(one, _FEWEST) else 0.0 for one in found]
        readings = fitting(shares, _AGREE)
        if readings:
            raise misread(where, readings)
        tried = self.low[:_TRIED]
        others = [self._best_elsewhere(i, range(len(self.every_pose))) for i in tried]
        fits = [other.is_sure for other in others]
        if 2 * sum(fits) > len(tried):
            first = fits.index(True)
            raise self._renamed(where, tried[first], others[first])
        return [
            Doubt(
                where,
                "take photos, cameras, images and points3D from one reconstruction, in one world"
                " and unit; where colours of points are made up, go on",
            )
        ]

    def _check_order(self) -> None:
        """Refuses photos that fit better where neighbours by name were taken."""
        some = spread(range(len(self.rows)), _COMPARED)
        others = []
        for index in some:
            first = max(0, self.rows[index] - _NEIGHBOURS)
            last = min(len(self.every_pose), self.rows[index] + _NEIGHBOURS + 1)
            others.append(self._best_elsewhere(index, range(first, last)))
        if 2 * sum(other.is_sure for other in others) > len(others):
            best = int(np.argmax([other.lead for other in others]))
            where = f"photos in {self.scene.root} fit better where others were taken"
            raise self._renamed(where, some[best], others[best])

    def _some_disagree(self) -> Iterator[Doubt]:
        unexplained, mistaken = [], []
        for index in self.low:
            name, pose = self._name(index), self.every_pose[self.rows[index]]
            found = (self.comparison.of_photo(index, pose, turn) for turn in TURNS)
            turns = [
                turn
                for turn, one in zip(TURNS, found, strict=True)
                if _agrees(one, _FEWEST_IN_PHOTO)
            ]
            if turns:
                yield Doubt(
                    f"the photo {name!r} seems to be {turns[0].name}", "turn it back", (name,)
                )
            else:
                unexplained.append(name)
                mistaken.append(index)
        if len(unexplained) > _MANY * len(self.rows):
            yield Doubt(
                f"{len(unexplained)} of {len(self.rows)} photos that were looked at do not show the"
                f" colours of the points where these project to, first {unexplained[0]!r}",
                "check that they have the names that COLMAP saw them under, and its poses",
                tuple(unexplained),
            )
        for index in mistaken[:_TRIED]:
            other = self._best_elsewhere(index, range(len(self.every_pose)))
            if other.is_sure:
                yield Doubt(
                    f"the photo {self._name(index)!r} seems to be {other.name!r}",
                    "give both the names that COLMAP saw them under",
                    (self._name(index), other.name),
                )

    def _best_elsewhere(self, index: int, rows: range) -> "_Elsewhere":
        """Returns where else, among some views, a photo fits best."""
        found = {
            self.scene.views[k].name: self.comparison.of_photo(index, self.every_pose[k])
            for k in rows
            if k != self.rows[index]
        }
        shares = {name: one.share for name, one in found.items() if one.places >= _FEWEST_IN_PHOTO}
        if not shares:
            return _Elsewhere("", 0.0, 0.0)
        name = max(shares, key=lambda name: shares[name])
        best = shares.pop(name)
        rivals = [self.own[index].share, *shares.values(), self._own_share(name)]
        return _Elsewhere(name, best, best - max(rivals))

    def _own_share(self, name: str) -> float:
        """Returns how well the photo that has a name fits where that was taken."""
        row = next(i for i, view in enumerate(self.scene.views) if view.name == name)
        if row in self.rows:
            return self.own[self.rows.index(row)].share
        view = self.scene.views[row]
        alone = replace(self.comparison, views=(view,), photos=[self.photo_of(view)])
        return alone.of_photo(0, self.every_pose[row]).share

    def _renamed(self, where: str, index: int, other: "_Elsewhere") -> SceneError:
        return SceneError(
            f"{where}: {self._name(index)!r} seems to be the photo {other.name!r}",
            expected="expected photos under the names that COLMAP saw them under",
            action="copy the photos again, or take cameras, images and points3D from the"
            " reconstruction of these",
        )

    def _name(self, index: int) -> str:
        return self.comparison.views[index].name


@dataclass(frozen=True)
class _Elsewhere:
    """Another view, and how well a photo fits there."""

    name: str
    share: float
    lead: float
    """By how much it fits better there than at all other poses that were tried, its own too, and
    than the photo that has that name."""

    @property
    def is_sure(self) -> bool:
        """Returns whether it belongs there for certain."""
        return self.share >= _AGREE and self.lead > _LEAD


def _agrees(found: Agreement, fewest: int) -> bool:
    """Returns whether photos fit for certain, in as many places at least."""
    return found.places >= fewest and found.share >= _AGREE
