"""From a COLMAP folder to a ``Scene``: pair names with photos, scale intrinsics, normalise."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gs_densify.data.colmap import ColmapImage, find_model, read_model
from gs_densify.data.images import read_sizes
from gs_densify.data.normalize import (
    camera_centers,
    is_usable_point,
    normalizing_transform,
    transform_points,
    transform_poses,
)
from gs_densify.data.scene import Scene, Size, View
from gs_densify.data.split import check_split
from gs_densify.errors import SceneError


def load_scene(
    root: Path, *, name: str, downscale: int = 1, test_every: int = 8, normalize: bool = True
) -> Scene:
    """Load a COLMAP data set: poses, points and where the photos are, but no pixels yet.

    Args:
        root: folder that holds ``sparse/`` and ``images/`` or ``images_N/``.
        name: name of the scene in results and messages.
        downscale: read ``images_{downscale}``; 1 reads ``images``. Intrinsics follow the size
            that each photo has on disk.
        test_every: hold out every k-th view in sorted order, from the first; 0 holds out none.
        normalize: take the world to the canonical one of ``normalize``; else keep COLMAP's.

    Raises:
        SceneError: what is missing, damaged or contradictory, in one line.
    """
    root = Path(root)
    folder = find_model(root)
    model = read_model(folder)
    check_split(len(model.images), test_every, scene=name)
    photos = find_photos(root, downscale, [image.name for image in model.images])
    sizes = read_sizes(photos)

    poses = np.stack([image.cam_from_world for image in model.images])
    usable = is_usable_point(model.points, camera_centers(poses))
    if not usable.any():
        raise SceneError(
            f"{folder}: none of {len(usable)} points is finite and away from the cameras;"
            " expected a point cloud of the scene; run colmap mapper again."
        )
    points = model.points[usable]
    similarity = normalizing_transform(poses, points) if normalize else np.eye(4)
    poses = transform_poses(similarity, poses)
    return Scene(
        name=name,
        root=root,
        image_dir=image_folder(root, downscale).name,
        downscale=downscale,
        views=tuple(map(_view, model.images, photos, sizes, poses)),
        test_every=test_every,
        points=transform_points(similarity, points).astype(np.float32),
        colors=model.colors[usable],
        normalized_from_colmap=similarity,
        dropped_points=int((~usable).sum()),
        model_dir=folder.relative_to(root).as_posix(),
    )


def image_folder(root: Path, downscale: int) -> Path:
    """``images`` for 1, ``images_N`` for N; ``SceneError`` for less than 1."""
    if downscale < 1:
        raise SceneError(
            f"downscale is {downscale}; expected 1, 2, 4 or another whole number of 1 or more;"
            " give --downscale 1 for the photos in images/."
        )
    return root / ("images" if downscale == 1 else f"images_{downscale}")


def find_photos(root: Path, downscale: int, names: Sequence[str]) -> list[Path]:
    """Path of each photo, by name; ``SceneError`` for a folder or photos that are missing."""
    folder = image_folder(root, downscale)
    if not folder.is_dir():
        raise SceneError(_no_folder_message(root, folder))
    paths = [folder / name for name in names]
    missing = [name for name, path in zip(names, paths, strict=True) if not path.is_file()]
    if missing:
        raise SceneError(
            f"{folder} lacks {len(missing)} of the {len(names)} photos that COLMAP registered,"
            f" first {missing[0]!r}; expected every one under COLMAP's name;"
            " add them, or choose another folder with --downscale."
        )
    return paths


def _no_folder_message(root: Path, folder: Path) -> str:
    others = sorted(p.name for p in root.glob("images*") if p.is_dir())
    factors = [
        match[1] or "1" for n in others if (match := re.fullmatch(r"images(?:_([1-9]\d*))?", n))
    ]
    advice = (
        f"give --downscale {' or '.join(factors)}"
        if factors
        else "put the photos into images/ and give --downscale 1"
    )
    found = ", ".join(others) if others else "no image folder"
    return f"{folder} does not exist: {root} has {found}; expected {folder.name}/; {advice}."


def _view(image: ColmapImage, path: Path, size: Size, pose: np.ndarray) -> View:
    _check_aspect(image, path, size)
    K = image.K.copy()
    K[0] *= size[0] / image.width
    K[1] *= size[1] / image.height
    return View(
        name=image.name,
        path=path,
        camera_id=image.camera_id,
        cam_from_world=pose,
        K=K,
        width=size[0],
        height=size[1],
        colmap_size=(image.width, image.height),
    )


def _check_aspect(image: ColmapImage, path: Path, size: Size) -> None:
    """Refuse a photo that is cropped or rotated; rounding each side to pixels is fine."""
    width, height = size
    error_x = abs(width - height * image.width / image.height)
    error_y = abs(height - width * image.height / image.width)
    if min(error_x, error_y) > 1.5 and error_x > 0.01 * width:
        raise SceneError(
            f"{path} has {width}x{height} pixels but COLMAP's camera {image.camera_id} has"
            f" {image.width}x{image.height}; expected the same aspect ratio; use the photos that"
            " COLMAP saw, or a resized copy without crop or rotation."
        )
