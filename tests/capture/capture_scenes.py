"""Captures with known properties: textured photos, cameras on a ring, observations kept."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pycolmap
from PIL import Image

WIDTH, HEIGHT = 160, 120
FOCAL = 120.0


def look_at(center: np.ndarray, target: np.ndarray) -> np.ndarray:
    """[4, 4] pose with z up in the world and the camera upright."""
    forward = (target - center) / np.linalg.norm(target - center)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    pose[:3, 3] = -pose[:3, :3] @ center
    return pose


def ring(azimuths: Sequence[float], *, elevation: float = 20.0, radius: float = 4.0) -> np.ndarray:
    """Poses [N, 4, 4] of cameras that look at the origin, at azimuths in degrees."""
    a, e = np.radians(azimuths), np.radians(elevation)
    flat = np.stack([np.cos(a) * np.cos(e), np.sin(a) * np.cos(e), np.full(len(a), np.sin(e))], 1)
    return np.stack([look_at(radius * center, np.zeros(3)) for center in flat])


def cloud(count: int = 1500) -> np.ndarray:
    """Points [count, 3] in a ball of radius 0.6 about the origin."""
    rng = np.random.default_rng(3)
    directions = rng.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return 0.6 * directions * rng.uniform(0, 1, (count, 1)) ** (1 / 3)


def texture(seed: int = 0, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Grey values [H, W] float with detail at every scale, 40 to 200."""
    rng = np.random.default_rng(seed)
    grey = np.zeros((height, width))
    for size in (1, 2, 4, 8, 16):
        small = rng.normal(size=(height // size + 1, width // size + 1))
        grey += size**0.5 * np.kron(small, np.ones((size, size)))[:height, :width]
    grey = (grey - grey.min()) / (grey.max() - grey.min())
    return 40 + 160 * grey


def write_photo(path: Path, grey: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.rint(grey).clip(0, 255).astype(np.uint8)).convert("RGB").save(path)


def write_capture(
    root: Path,
    poses: np.ndarray,
    *,
    points: np.ndarray | None = None,
    camera: tuple = ("PINHOLE", [FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2]),
    errors: Sequence[float] | None = None,
    photos: bool = True,
) -> Path:
    """A data set of photos `000.png`, ...; `errors` are pixels by which observations are off.

    Every image observes every point; without `errors` no observations are kept.
    """
    points = cloud() if points is None else points
    model = pycolmap.Reconstruction()
    kind, params = camera
    model.add_camera_with_trivial_rig(
        pycolmap.Camera(model=kind, width=WIDTH, height=HEIGHT, params=params, camera_id=1)
    )
    for i, pose in enumerate(poses):
        keypoints = np.zeros((0, 2))
        if errors is not None:
            local = points @ pose[:3, :3].T + pose[:3, 3]
            shift = np.array([WIDTH / 2 + errors[i], HEIGHT / 2])
            keypoints = FOCAL * local[:, :2] / local[:, 2:] + shift
        image = pycolmap.Image(
            name=f"{i:03d}.png", keypoints=keypoints, camera_id=1, image_id=i + 1
        )
        rigid = pycolmap.Rigid3d(pycolmap.Rotation3d(pose[:3, :3]), pose[:3, 3])
        model.add_image_with_trivial_frame(image, rigid)
        if photos:
            write_photo(root / "images" / f"{i:03d}.png", texture(i))
    color = np.array([200, 30, 100], np.uint8)  # of all: the photos show none of them
    for index, point in enumerate(points):
        track = pycolmap.Track()
        for i in range(len(poses)) if errors is not None else ():
            track.add_element(i + 1, index)
        model.add_point3D(point, track, color)
    if errors is not None:
        model.update_point_3d_errors()
    (root / "sparse" / "0").mkdir(parents=True)
    model.write_binary(root / "sparse" / "0")
    return root
