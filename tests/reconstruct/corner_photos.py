"""Photos of a corner of a room with speckled walls, small and with plenty of features."""

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

WIDTH, HEIGHT, FOCAL = 200, 150, 190.0


def take_photos(folder: Path, count: int = 6, *, width: int = WIDTH) -> list[Path]:
    """Save photos taken on an arc around the corner at the origin, looking at it."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{i:02}.jpg" for i in range(count)]
    for path, angle in zip(paths, np.linspace(0.45, 1.1, count), strict=True):
        Image.fromarray(view(angle, width)).save(path, quality=95)
    return paths


def view(angle: float, width: int = WIDTH) -> np.ndarray:
    """The photo [H, W, 3] uint8 taken from a place at an angle around the vertical axis."""
    height, focal = width * HEIGHT // WIDTH, width * FOCAL / WIDTH
    center = np.array([4 * np.cos(angle), 4 * np.sin(angle), 1.6 + 0.4 * np.sin(5 * angle)])
    forward = np.array([0.6, 0.6, 0.7]) - center
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    x, y = np.meshgrid(np.arange(width) + 0.5 - width / 2, np.arange(height) + 0.5 - height / 2)
    rays = forward + x[..., None] / focal * right + y[..., None] / focal * down
    depths = np.where(rays < -1e-6, -center / np.minimum(rays, -1e-6), np.inf)  # x, y, z = 0
    wall = depths.argmin(axis=2)
    hit = center + rays * depths.min(axis=2)[..., None]
    image = np.zeros((height, width))
    for axis, texture in enumerate(_TEXTURES):
        there = wall == axis
        across = np.delete(hit[there], axis, axis=1) * 64  # texels
        image[there] = map_coordinates(texture, across.T, order=1, mode="grid-wrap")
    return np.repeat(image.astype(np.uint8)[..., None], 3, axis=2)


def _texture(random: np.random.Generator) -> np.ndarray:
    layers = [gaussian_filter(random.normal(size=(320, 320)), s, mode="wrap") for s in (1.2, 3, 8)]
    mixed = sum(layer / layer.std() for layer in layers)
    return np.clip(128 + 40 * mixed, 0, 255)


_RANDOM = np.random.default_rng(3)
_TEXTURES = [_texture(_RANDOM) for _ in range(3)]
