"""Where a window looks from at first: upright, with the model in its middle."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from gs_densify.model.types import Splats
from gs_densify.viewer.camera import Camera
from gs_densify.viewer.shots import Shot

Direction = tuple[float, float, float]

COLMAP_UP: Direction = (0.0, -1.0, 0.0)
"""COLMAP's world has no up; it mostly follows its first cameras, whose y axis points down."""
Z_UP: Direction = (0.0, 0.0, 1.0)
FOV = 0.9
"""Vertical field of view in radians, where no photo says one."""
_SOLID = 0.1
"""Gaussians of less opacity hide nothing."""
_FLAT = 0.1
"""Share of the largest variance below which the smallest one's axis is taken for the vertical."""
_LOW = 0.6
"""Share of the variance along y below which that along z makes z the vertical."""
_SAMPLE = 20_000
"""Gaussians that say enough about where the others are."""
_SIDES = 16
_ABOVE = 0.3
"""Height of the first look, in horizontal distances."""
_ROUNDS = 10
_PULL = 0.01
"""What the middle of the Gaussians weighs beside the cameras' axes, where these are parallel."""


@dataclass(frozen=True)
class StartingPoint:
    """Where a window looks from at first, and the point that it turns about."""

    position: Direction
    look_at: Direction
    fov: float = FOV
    """Vertical, in radians."""
    aspect: float = 1.0
    """Width over height of what is to be seen at least."""


@dataclass(frozen=True)
class Bulk:
    """Where most of a model is, and what stands around it."""

    middle: np.ndarray
    """[3]."""
    radius: float
    """Of the ball that holds half of its solid Gaussians."""
    centers: np.ndarray
    """[N, 3], of solid Gaussians, far background and all: a sample of large models."""
    areas: np.ndarray
    """[N], what each of them covers at most, times its opacity."""

    @property
    def near(self) -> np.ndarray:
        """Returns the centers [M, 3] in the ball."""
        return self.centers[np.linalg.norm(self.centers - self.middle, axis=1) <= self.radius]


def bulk_of(splats: Splats) -> Bulk:
    """Returns where the solid Gaussians are."""
    opacities = splats["opacities"].detach().sigmoid()
    solid = torch.nonzero(opacities >= _SOLID)[:, 0]
    solid = solid if len(solid) else torch.arange(len(opacities))
    solid = solid[:: max(1, len(solid) // _SAMPLE)]
    centers = splats["means"].detach()[solid].double().cpu().numpy()
    sizes = splats["scales"].detach()[solid].double().exp().sort(dim=1).values
    areas = np.pi * (sizes[:, 1] * sizes[:, 2] * opacities[solid]).cpu().numpy()
    middle = np.median(centers, axis=0)
    for _ in range(3):  # each time the far half weighs less
        distances = np.linalg.norm(centers - middle, axis=1)
        middle = np.median(centers[distances <= np.median(distances)], axis=0)
    radius = float(np.median(np.linalg.norm(centers - middle, axis=1)))
    return Bulk(middle, radius or 1.0, centers, areas)


def up_of_bulk(bulk: Bulk) -> Direction:
    """Returns what is probably up in a world of which nothing is known.

    Models are wider than high: it is -y, as mostly in COLMAP's world, or z, as in one that follows
    the ground. Where they are flat, and their normal is near that, it is the normal.
    """
    near = bulk.near
    if len(near) < 4:
        return COLMAP_UP
    spread = np.cov(near.T)
    axis = Z_UP if spread[2, 2] < _LOW * spread[1, 1] else COLMAP_UP
    variances, axes = np.linalg.eigh(spread)
    normal = axes[:, 0] * np.sign(axes[:, 0] @ axis)
    is_flat = variances[0] < _FLAT * variances[2]
    return direction(normal) if is_flat and normal @ axis > np.sqrt(0.5) else axis


def start_beside(bulk: Bulk, up: Direction) -> StartingPoint:
    """Returns a point beside and above a model of which no photo is known, on the side from where
    least stands in between: before it on the z axis, where that is as good as others.
    """
    vertical = np.array(up)
    across = np.cross(vertical, np.eye(3)[np.argmin(np.abs(vertical))])
    back = np.array([0.0, 0.0, -1.0]) - (-vertical[2]) * vertical
    back = back if np.linalg.norm(back) > 0.5 else across
    back = back / np.linalg.norm(back)
    side = np.cross(vertical, back)
    distance = 1.2 * bulk.radius / np.tan(FOV / 2)
    angles = np.arange(_SIDES) * 2 * np.pi / _SIDES
    flat = np.cos(angles)[:, None] * back + np.sin(angles)[:, None] * side
    away = (flat + _ABOVE * vertical) / np.hypot(1.0, _ABOVE)
    blocked = [_blocked(bulk, bulk.middle + distance * one) for one in away]
    position = bulk.middle + distance * away[int(np.argmin(blocked))]
    return StartingPoint(direction(position), direction(bulk.middle))


def _blocked(bulk: Bulk, position: np.ndarray) -> float:
    """Returns about how much of a picture is covered by what is nearer than the bulk."""
    forward = bulk.middle - position
    distance = float(np.linalg.norm(forward))
    offsets = bulk.centers - position
    depths = offsets @ forward / distance
    across = np.linalg.norm(offsets - depths[:, None] * forward / distance, axis=1)
    half = np.tan(FOV / 2)
    is_between = (depths > 0.01 * distance) & (depths < distance - bulk.radius)
    is_seen = is_between & (across < half * depths)
    shares = bulk.areas[is_seen] / (2 * half * depths[is_seen]) ** 2
    return float(np.minimum(shares, 1.0).sum())


def start_at_photos(shots: Sequence[Shot], bulk: Bulk, up: Direction) -> StartingPoint:
    """Returns where the photo was taken that has in its middle what all photos look at.

    Of several it is one from as far, and from the same side, as most.
    """
    cameras = [shot.camera for shot in shots]
    centers = np.array([camera.position for camera in cameras])
    forward = np.array([camera.viewmat()[2, :3] for camera in cameras])
    focus = _focus(centers, forward, bulk.middle)
    offsets = focus - centers
    distances = np.linalg.norm(offsets, axis=1)
    cosines = np.einsum("ni,ni->n", offsets, forward) / np.maximum(distances, 1e-12)
    if np.median(cosines) < 0.5:  # they look outwards
        return _ahead(cameras[0], bulk)
    typical = max(float(np.median(distances)), 1e-12)
    oddness = np.abs(np.log(np.maximum(distances, 1e-12) / typical))
    mean = forward.mean(axis=0)  # about 0 where they are all around, but for its height
    frontal = forward @ (mean - (mean @ up) * np.array(up))
    best = int(np.argmin(np.arccos(np.clip(cosines, -1, 1)) + 0.2 * oddness - 0.3 * frontal))
    return _from(cameras[best], focus)


def _ahead(camera: Camera, bulk: Bulk) -> StartingPoint:
    """Returns a camera that turns about a point in front of it, about as far as the model is."""
    ahead = np.array(camera.position) + bulk.radius * camera.viewmat()[2, :3]
    return _from(camera, ahead)


def _from(camera: Camera, target: np.ndarray) -> StartingPoint:
    return StartingPoint(camera.position, direction(target), camera.fov, camera.aspect)


def _focus(centers: np.ndarray, forward: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Returns the point [3] that is nearest to the optical axes, and a little to `middle`.

    Cameras that look elsewhere, or are misplaced, do not draw it away from the others' point.
    """
    across = np.eye(3) - np.einsum("ni,nj->nij", forward, forward)
    weights = np.full(len(centers), 1 / len(centers))
    focus = middle
    for _ in range(_ROUNDS):
        mean = np.einsum("n,nij->ij", weights, across) + _PULL * np.eye(3)
        right = np.einsum("n,nij,nj->i", weights, across, centers) + _PULL * middle
        focus = np.linalg.solve(mean, right)
        off = np.linalg.norm(np.einsum("nij,nj->ni", across, focus - centers), axis=1)
        weights = 1 / (off + 0.1 * np.median(off) + 1e-12)  # sums of distances, not of squares
        weights /= weights.sum()
    return np.asarray(focus)


def direction(vector: np.ndarray) -> Direction:
    """Returns a vector [3] as plain numbers."""
    x, y, z = map(float, vector)
    return (x, y, z)
