"""The tiny scene: 32 synthetic photos of a room, written as a real COLMAP data set.

It needs no download, trains in minutes on a CPU, and is the same on every run: known cameras,
known surfaces, and a sparse noisy cloud of surface points in place of structure from motion.
"""

import errno
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from gs_densify.errors import SceneError
from gs_densify.scene.colmap_library import pycolmap
from gs_densify.scene.formats.colmap.read import read_model
from gs_densify.scene.formats.tiny.raycast import Box, Sphere, World

VERSION = 2
"""Part of the cache folder's name; raise it with every change of what is generated."""

NUM_VIEWS = 32
WIDTH, HEIGHT = 96, 64
FOCAL = 80.0
POINTS_PER_VIEW = 20
POINT_NOISE = 0.01
"""Standard deviation of the point positions in metres; the room is 6 m wide."""
_SAMPLES = 4
"""Rays per pixel and axis."""


def make_tiny(out: Path) -> None:
    """Writes ``images/*.png`` and ``sparse/0`` of the tiny scene into a new or empty folder.

    Raises:
        SceneError: ``out`` is a file or holds something.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SceneError(
            f"{out} exists and is not an empty folder",
            expected="expected a new one for the tiny scene",
            action="name another folder",
        )
    try:
        _write(out)
    except OSError as error:
        raise SceneError(
            f"{out} cannot be written ({error.strerror})",
            expected="expected a place for the tiny scene",
            action="name another folder",
        ) from None


def ensure_tiny(cache_dir: Path) -> Path:
    """Returns the folder of the tiny scene below ``cache_dir``, generated on first use.

    It appears complete or not at all, also when several processes start at once: each generates
    into a folder of its own, and the first to rename it wins.
    """
    final = Path(cache_dir) / f"tiny-v{VERSION}"
    if final.is_dir():
        return final
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{final.name}-", dir=final.parent))
        try:
            _write(work)
            work.chmod(0o755)  # mkdtemp keeps other users out
            _rename_unless_present(work, final)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise SceneError(
            f"the cache folder {final.parent} cannot be written ({error.strerror})",
            expected="expected a place for the tiny scene",
            action="set GS_CACHE to a folder of yours",
        ) from None
    return final


def tiny_world() -> World:
    """Returns the room, a glossy sphere, a matt sphere and a cube."""
    return World(
        surfaces=(
            Box((0.0, 0.0, 1.5), (3.0, 3.0, 1.5), _room_pattern, inside=True),
            Sphere((-0.35, 0.25, 0.55), 0.55, _glossy_pattern, gloss=0.5),
            Sphere((0.75, 0.55, 0.32), 0.32, _banded_pattern),
            Box((0.35, -0.65, 0.3), (0.3, 0.3, 0.3), _cube_pattern),
        ),
        light=(1.0, -0.8, 2.8),
    )


def tiny_poses() -> np.ndarray:
    """Poses cam_from_world [V, 4, 4] on a closed loop, 80 degrees wide, on one side of the room.

    Every view has close neighbours before and after it, and those that the usual split holds out
    (every 8th) lie between the ends of the loop.
    """
    turn = 2 * np.pi * np.arange(NUM_VIEWS) / NUM_VIEWS + np.pi / 4
    angle = -0.4 + 0.7 * np.sin(turn)
    height = 1.25 + 0.35 * np.cos(turn)
    radius = 2.45 + 0.15 * np.cos(2 * turn)
    centers = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)
    return np.stack([_look_at(center, np.array([0.1, 0.0, 0.4])) for center in centers])


def render(world: World, cam_from_world: np.ndarray) -> np.ndarray:
    """Returns a photo [H, W, 3] uint8 of the world: the mean of ``_SAMPLES``^2 rays a pixel."""
    s = _SAMPLES
    u, v = np.meshgrid((np.arange(WIDTH * s) + 0.5) / s, (np.arange(HEIGHT * s) + 0.5) / s)
    colors = world.color(*camera_rays(cam_from_world, np.stack([u, v], axis=-1).reshape(-1, 2)))
    pixels = colors.reshape(HEIGHT, s, WIDTH, s, 3).mean(axis=(1, 3))
    return np.rint(255.0 * pixels).astype(np.uint8)


def camera_rays(cam_from_world: np.ndarray, uv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rays' origins and unit directions [R, 3] through image points [R, 2]."""
    rotation, translation = cam_from_world[:3, :3], cam_from_world[:3, 3]
    offsets = (uv - [WIDTH / 2, HEIGHT / 2]) / FOCAL
    directions = np.concatenate([offsets, np.ones((len(uv), 1))], axis=1) @ rotation
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return np.broadcast_to(-rotation.T @ translation, directions.shape), directions


def _write(out: Path) -> None:
    """Writes the scene into ``out``, which is empty or does not exist."""
    (out / "images").mkdir(parents=True, exist_ok=True)
    (out / "sparse" / "0").mkdir(parents=True)
    world, poses = tiny_world(), tiny_poses()
    with ThreadPoolExecutor() as pool:
        photos = list(pool.map(partial(render, world), poses))
    for index, photo in enumerate(photos):
        Image.fromarray(photo).save(out / "images" / _name(index))
    points, colors = _sample_points(world, poses, photos)
    model = out / "sparse" / "0"
    _reconstruction(poses, points, colors).write_binary(model)
    try:
        read_model(model)
    except SceneError:  # pycolmap does not say where it could not write
        raise OSError(errno.EIO, "the model was not written whole") from None


def _look_at(center: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Returns the pose of a camera at ``center`` that looks at ``target`` with the world's z up."""
    forward = (target - center) / np.linalg.norm(target - center)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    pose[:3, 3] = -pose[:3, :3] @ center
    return pose


def _sample_points(
    world: World, poses: np.ndarray, photos: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns surface points [P, 3] behind random pixels, with noise, and those pixels' colours."""
    rng = np.random.default_rng(0)
    points, colors = [], []
    for pose, photo in zip(poses, photos, strict=True):
        chosen = rng.choice(WIDTH * HEIGHT, POINTS_PER_VIEW, replace=False)
        row, column = np.divmod(chosen, WIDTH)
        origins, directions = camera_rays(pose, np.stack([column, row], axis=1) + 0.5)
        distances, _ = world.hit(origins, directions)
        points.append(origins + distances[:, None] * directions)
        colors.append(photo[row, column])
    exact = np.concatenate(points)
    return exact + rng.normal(scale=POINT_NOISE, size=exact.shape), np.concatenate(colors)


def _reconstruction(
    poses: np.ndarray, points: np.ndarray, colors: np.ndarray
) -> "pycolmap.Reconstruction":
    """Returns a COLMAP model without observations; its points are given, not triangulated."""
    model = pycolmap.Reconstruction()
    params = [FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2]
    camera = pycolmap.Camera(model="PINHOLE", width=WIDTH, height=HEIGHT, params=params)
    camera.camera_id = 1
    model.add_camera_with_trivial_rig(camera)
    for index, pose in enumerate(poses):
        image = pycolmap.Image(name=_name(index), camera_id=1)
        image.image_id = index + 1
        rigid = pycolmap.Rigid3d(pycolmap.Rotation3d(pose[:3, :3]), pose[:3, 3])
        model.add_image_with_trivial_frame(image, rigid)
    for point, color in zip(points, colors, strict=True):
        model.add_point3D(point, pycolmap.Track(), color)
    return model


def _name(index: int) -> str:
    return f"{index:03d}.png"


def _rename_unless_present(work: Path, final: Path) -> None:
    """Moves a complete folder into place; a finished one that came first stays."""
    try:
        work.rename(final)
    except OSError:
        if not final.is_dir():
            raise


def _mix(weight: np.ndarray, first: list[float], second: list[float]) -> np.ndarray:
    """Returns the blend of two colours [R, 3] by weights [R] in [0, 1]."""
    return np.asarray(np.outer(1.0 - weight, first) + np.outer(weight, second))


def _wave(phase: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 + 0.5 * np.sin(phase))


def _step(signed: np.ndarray, width: float) -> np.ndarray:
    """Is 0 below and 1 above zero, with a smooth edge of about ``width``."""
    return np.asarray(0.5 + 0.5 * np.tanh(signed / width))


def _room_pattern(p: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Returns a checked floor, a plain ceiling, and walls of four colours with a darker base."""
    x, y, z = p.T
    checks = _step(np.sin(np.pi * x / 1.5) * np.sin(np.pi * y / 1.5), 0.25)
    floor = _mix(checks, [0.80, 0.72, 0.60], [0.50, 0.40, 0.36])
    ceiling = _mix(_wave(x + y), [0.85, 0.87, 0.90], [0.75, 0.80, 0.85])
    east_west = _mix(_wave(1.6 * y), [0.80, 0.45, 0.35], [0.85, 0.70, 0.40])
    north_south = _mix(_wave(1.6 * x), [0.35, 0.55, 0.75], [0.45, 0.75, 0.60])
    far_side = (normals[:, 0] + normals[:, 1] > 0)[:, None]
    walls = np.where(np.abs(normals[:, :1]) > 0.5, east_west, north_south)
    walls = np.where(far_side, walls, walls[:, [1, 2, 0]])
    walls = walls * (0.6 + 0.4 * _step(z + 0.9, 0.05))[:, None]
    horizontal = np.abs(normals[:, 2:]) > 0.5
    return np.where(horizontal, np.where(z[:, None] < 0, floor, ceiling), walls)


def _glossy_pattern(p: np.ndarray, normals: np.ndarray) -> np.ndarray:
    return _mix(_wave(4.0 * p[:, 0] + 3.0 * p[:, 2]), [0.70, 0.12, 0.15], [0.85, 0.35, 0.10])


def _banded_pattern(p: np.ndarray, normals: np.ndarray) -> np.ndarray:
    return _mix(_step(np.sin(18.0 * p[:, 2]), 0.3), [0.95, 0.90, 0.75], [0.15, 0.35, 0.60])


def _cube_pattern(p: np.ndarray, normals: np.ndarray) -> np.ndarray:
    face = np.abs(normals) @ np.array([[0.20, 0.60, 0.30], [0.90, 0.75, 0.20], [0.55, 0.35, 0.70]])
    dark = _step(0.22 - np.sort(np.abs(p), axis=1)[:, 1], 0.03)
    return np.asarray(face * (0.55 + 0.45 * dark)[:, None])
