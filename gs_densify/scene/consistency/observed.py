"""Do points project to where photos observed them?"""

from dataclasses import dataclass

import numpy as np

from gs_densify.errors import SceneError
from gs_densify.scene.consistency.readings import READINGS, fitting, misread
from gs_densify.scene.doubt import Doubt
from gs_densify.scene.formats.base import PosedImage, SceneModel
from gs_densify.scene.photos.lens import project

_SAMPLED = 100
"""Observations of a photo, evenly chosen."""
_FEWEST = 50
"""Observations of which anything is said."""
_NEAR = 0.05
"""Of the diagonal: SfM drops what is more than some pixels off."""
_MOST, _CERTAIN = 0.5, 0.8
"""Shares of observations. In four ordinary captures that keep them, all of them are near."""


@dataclass(frozen=True, eq=False)
class _Sightings:
    """Observed points of a photo: where they project to, and where they were observed."""

    name: str
    size: np.ndarray
    """[2] width and height in pixels."""
    projected: np.ndarray
    """[n, 2] pixels; NaN behind the camera."""
    observed: np.ndarray
    """[n, 2] pixels."""

    def is_near(self, factor: float = 1.0) -> np.ndarray:
        """Returns [n]: whether points project near to `factor` times where they were observed."""
        distances = np.linalg.norm(self.projected - factor * self.observed, axis=1)
        return np.asarray(distances < _NEAR * np.linalg.norm(self.size))

    def is_inside(self) -> np.ndarray:
        """Returns [n]: whether points project into the picture."""
        inside = (self.projected >= 0) & (self.projected <= self.size)
        return np.asarray(inside.all(axis=1))


def check_observations(model: SceneModel) -> list[Doubt]:
    """Projects what photos observed, where the model says it.

    Raises:
        SceneError: most points are not in the pictures of the photos that observed them, or are
            where they were observed if the poses are in another convention.
    """
    observing = [image for image in model.images if len(image.observations.points)]
    poses = np.array([image.cam_from_world for image in observing])
    found = _sightings(model, observing, poses)
    if sum(len(one.observed) for one in found) < _FEWEST:
        return []
    near = _share([one.is_near() for one in found])
    if near >= _MOST:
        return _strays(model, found)
    what = (
        f"{model.folder}: {1 - near:.0%} of the points project far from where photos observed them"
    )
    scores = [
        _share([one.is_near() for one in _sightings(model, observing, reading.correct(poses))])
        for reading in READINGS
    ]
    readings = fitting(scores, _CERTAIN)
    if readings:
        raise misread(what, readings)
    remedy = "take cameras, images and points3D from one reconstruction, in one world and unit"
    inside = _share([one.is_inside() for one in found])
    if inside < _MOST:
        raise SceneError(
            f"{what}, and {1 - inside:.0%} out of their pictures",
            expected="expected points that are in view of the photos that observed them",
            action=remedy,
        )
    factor = _factor(found)
    if _share([one.is_near(factor) for one in found]) < _CERTAIN:
        return [Doubt(what, remedy)]
    return [
        Doubt(
            f"{model.folder}: points were observed in photos {1 / factor:.3g} times the size that"
            " the cameras have",
            "check that the cameras were scaled as a whole: WIDTH, HEIGHT and all parameters in"
            " pixels",
        )
    ]


def _share(flags: list[np.ndarray]) -> float:
    return float(np.concatenate(flags).mean())


def _sightings(model: SceneModel, images: list[PosedImage], poses: np.ndarray) -> list[_Sightings]:
    """Returns what images observed, and where it projects to from poses [N, 4, 4]."""
    found = []
    for image, pose in zip(images, poses, strict=True):
        step = -(-len(image.observations.points) // _SAMPLED)
        points = model.points[image.observations.points[::step]]
        found.append(
            _Sightings(
                image.name,
                np.array([image.width, image.height]),
                project(image.lens, image.K, points @ pose[:3, :3].T + pose[:3, 3]),
                image.observations.xy[::step],
            )
        )
    return found


def _strays(model: SceneModel, found: list[_Sightings]) -> list[Doubt]:
    """Returns a doubt about photos that do not see what they observed, where others do."""
    names = tuple(one.name for one in found if one.is_near().mean() < _MOST)
    if not names:
        return []
    return [
        Doubt(
            f"{model.folder}: most points project far from where {len(names)} of"
            f" {len(model.images)} photos observed them, first {names[0]!r}",
            "the poses of these photos are wrong: remove them from the model",
            names,
        )
    ]


def _factor(found: list[_Sightings]) -> float:
    """Returns by what observed pixels are to be multiplied to become projected ones."""
    projected = np.concatenate([one.projected for one in found])
    observed = np.concatenate([one.observed for one in found])
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.linalg.norm(projected, axis=1) / np.linalg.norm(observed, axis=1)
    ratios = ratios[np.isfinite(ratios)]
    return float(np.median(ratios)) if len(ratios) else 1.0
