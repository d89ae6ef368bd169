"""A small ray caster: the closed-form world behind the tiny scene. Pure numpy.

A box room holds two spheres and a cube. Every surface has an analytic colour pattern; a point
light gives diffuse shading and shadows, and the glossy sphere has a Phong highlight, the one
thing here whose colour depends on where it is seen from. The world has z up and metres.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Pattern = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Colour [R, 3] in [0, 1] from points [R, 3] relative to the surface's centre and normals."""

_NEAR = 1e-6


@dataclass(frozen=True)
class Sphere:
    """A ball seen from outside."""

    center: tuple[float, float, float]
    radius: float
    pattern: Pattern
    gloss: float = 0.0

    def intersect(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Returns the distance [R] to the first hit in front of each unit ray [R, 3]; inf for a
        miss.
        """
        to_origin = self.local(origins)
        b = np.einsum("rc,rc->r", to_origin, directions)
        c = np.einsum("rc,rc->r", to_origin, to_origin) - self.radius**2
        discriminant = b * b - c
        distance = -b - np.sqrt(np.maximum(discriminant, 0.0))
        return np.where((discriminant > 0) & (distance > _NEAR), distance, np.inf)

    def normals(self, points: np.ndarray) -> np.ndarray:
        """Returns outward unit normals [R, 3] at surface points [R, 3]."""
        return self.local(points) / self.radius

    def local(self, points: np.ndarray) -> np.ndarray:
        """Returns points [R, 3] relative to the centre."""
        return points - np.asarray(self.center)


@dataclass(frozen=True)
class Box:
    """An axis-aligned box, seen from outside, or from inside as a room."""

    center: tuple[float, float, float]
    half: tuple[float, float, float]
    pattern: Pattern
    inside: bool = False
    gloss: float = 0.0

    def intersect(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Returns the distance [R] to the first hit in front of each unit ray [R, 3]; inf for a
        miss.
        """
        # A zero component would divide zero by zero on a face; a tiny one gives the right slab.
        safe = np.where(np.abs(directions) < 1e-12, 1e-12, directions)
        first = (-np.asarray(self.half) - self.local(origins)) / safe
        second = (np.asarray(self.half) - self.local(origins)) / safe
        enter = np.minimum(first, second).max(axis=1)
        leave = np.maximum(first, second).min(axis=1)
        if self.inside:
            return np.where(leave > _NEAR, leave, np.inf)
        return np.where((enter < leave) & (enter > _NEAR), enter, np.inf)

    def normals(self, points: np.ndarray) -> np.ndarray:
        """Returns unit normals [R, 3] at surface points [R, 3], on the side that rays come from."""
        relative = self.local(points) / np.asarray(self.half)
        face = np.abs(relative).argmax(axis=1)[:, None] == np.arange(3)
        outward = np.where(face, np.sign(relative), 0.0)
        return -outward if self.inside else outward

    def local(self, points: np.ndarray) -> np.ndarray:
        """Returns points [R, 3] relative to the centre."""
        return points - np.asarray(self.center)


Surface = Sphere | Box


@dataclass(frozen=True)
class World:
    """Surfaces and the light above them."""

    surfaces: tuple[Surface, ...]
    light: tuple[float, float, float]
    ambient: float = 0.45
    shininess: float = 12.0

    def hit(self, origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the distance [R] to the nearest surface along unit rays [R, 3]; its index [R]."""
        distances = np.stack([s.intersect(origins, directions) for s in self.surfaces])
        nearest = distances.argmin(axis=0)
        return np.take_along_axis(distances, nearest[None], axis=0)[0], nearest

    def color(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Returns the colour [R, 3] in [0, 1] along unit rays [R, 3]; each must hit something."""
        distances, nearest = self.hit(origins, directions)
        points = origins + distances[:, None] * directions
        colors = np.empty_like(points)
        for index, surface in enumerate(self.surfaces):
            on = nearest == index
            colors[on] = self._shade(surface, points[on], directions[on])
        return colors.clip(0.0, 1.0)

    def _shade(self, surface: Surface, points: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Adds ambient, diffuse and Phong terms; the last two only where the light is in sight."""
        normals = surface.normals(points)
        to_light = np.asarray(self.light) - points
        distance = np.linalg.norm(to_light, axis=1, keepdims=True)
        to_light /= distance
        start = points + 1e-4 * normals
        in_sight = self.hit(start, to_light)[0] > distance[:, 0] - 1e-3
        diffuse = np.einsum("rc,rc->r", normals, to_light).clip(0.0) * in_sight
        mirrored = directions - 2 * np.einsum("rc,rc->r", directions, normals)[:, None] * normals
        aligned = np.einsum("rc,rc->r", mirrored, to_light).clip(0.0)
        highlight = surface.gloss * aligned**self.shininess * in_sight
        albedo = surface.pattern(surface.local(points), normals)
        lit = self.ambient + (1.0 - self.ambient) * diffuse
        return np.asarray(albedo * lit[:, None] + highlight[:, None])
