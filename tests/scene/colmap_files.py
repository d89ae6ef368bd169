"""Small COLMAP data sets for the tests: real files, written through pycolmap."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pycolmap
from PIL import Image
from scipy.spatial.transform import Rotation

PINHOLE = ("PINHOLE", 96, 64, [80.0, 82.0, 48.5, 31.5])
POINTS = np.random.default_rng(7).normal(size=(12, 3)) * [2.0, 1.0, 0.5]


def pose_of(index: int) -> np.ndarray:
    """A camera about four units from the origin, looking roughly at it."""
    rng = np.random.default_rng(index)
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("xyz", rng.uniform(-0.4, 0.4, 3)).as_matrix()
    pose[:3, 3] = [*rng.uniform(-1, 1, 2), 4.0]
    return pose


def reconstruction(
    names: Sequence[str] = ("a.png", "b.png", "c.png"),
    *,
    ids: Sequence[int] | None = None,
    cameras: Mapping[int, tuple] | None = None,
    camera_of: Sequence[int] | None = None,
    points: np.ndarray = POINTS,
    unregistered: Sequence[str] = (),
) -> pycolmap.Reconstruction:
    """Images ``names`` at ``pose_of(position)``; the first two observe every point."""
    model = pycolmap.Reconstruction()
    for camera_id, (kind, width, height, params) in (cameras or {1: PINHOLE}).items():
        camera = pycolmap.Camera(
            model=kind, width=width, height=height, params=params, camera_id=camera_id
        )
        model.add_camera_with_trivial_rig(camera)
    ids = ids or range(1, len(names) + 1)
    for position, (image_id, name) in enumerate(zip(ids, names, strict=True)):
        keypoints = np.full((len(points), 2), 5.0) if position < 2 else np.zeros((0, 2))
        image = pycolmap.Image(
            name=name,
            keypoints=keypoints,
            camera_id=camera_of[position] if camera_of else min(cameras or {1: PINHOLE}),
            image_id=image_id,
        )
        pose = pose_of(position)
        rigid = pycolmap.Rigid3d(pycolmap.Rotation3d(pose[:3, :3]), pose[:3, 3])
        model.add_image_with_trivial_frame(image, rigid)
    for extra, name in enumerate(unregistered):
        model.add_image_with_trivial_frame(
            pycolmap.Image(name=name, camera_id=1, image_id=1000 + extra)
        )
    for index, point in enumerate(points):
        track = pycolmap.Track()
        for image_id in list(ids)[:2]:
            track.add_element(image_id, index)
        model.add_point3D(point, track, np.array([index, 2 * index, 255 - index], np.uint8))
    return model


def write_model(folder: Path, model: pycolmap.Reconstruction, *, kind: str = "bin") -> Path:
    """Write as ``bin``, ``txt``, or ``legacy``: binary without the rigs and frames of COLMAP 4."""
    folder.mkdir(parents=True)
    if kind == "txt":
        model.write_text(folder)
    else:
        model.write_binary(folder)
    if kind == "legacy":
        (folder / "rigs.bin").unlink()
        (folder / "frames.bin").unlink()
    return folder


def write_photo(path: Path, width: int = 96, height: int = 64, value: int = 0) -> None:
    """A flat photo; its pixels say which one it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (value, 255 - value, 7)).save(path)


def write_dataset(root: Path, names: Sequence[str] = ("a.png", "b.png", "c.png"), **model) -> Path:
    """A data set with ``images/`` and ``sparse/0``."""
    write_model(root / "sparse" / "0", reconstruction(names, **model))
    for value, name in enumerate(names):
        write_photo(root / "images" / name, value=value)
    return root


def replace_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Make ``folder`` hold exactly ``files``."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder
