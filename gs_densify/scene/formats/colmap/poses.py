"""Where each image was taken: its own line, or the frame of its rig, and whether the two agree.

COLMAP from 3.12 on keeps poses twice: of rigs in frames, which it reads, and of images, which all
other programs read and write.
"""

from collections.abc import Mapping
from typing import NoReturn

import numpy as np
from scipy.spatial.transform import Rotation

from gs_densify.errors import SceneError
from gs_densify.scene.extent import cameras_radius
from gs_densify.scene.formats.colmap.records import ColmapFiles, FrameRecord
from gs_densify.scene.in_view import points_in_view
from gs_densify.scene.normalize import LARGEST_COORDINATE, camera_centers

Poses = dict[int, np.ndarray]
"""[4, 4] from world to camera by image id."""

_LARGEST_TURN = 1e-4
"""Of the entries of a rotation: text files may round theirs."""
_LARGEST_SHIFT = 1e-4
"""Of a camera centre, over the extent of the scene."""
_MANY_MORE = 1.25
"""Poses with so many times the points in view are those that fit the points."""
_SAMPLED_POINTS = 2000


def image_poses(files: ColmapFiles, K: Mapping[int, np.ndarray] | None = None) -> Poses:
    """Returns the poses of all images: those of frames, if there are any.

    Args:
        files: a model with an image at least, whose cameras are there.
        K: [3, 3] of each camera, to say which poses fit the points where a photo has two.

    Raises:
        SceneError: a pose that is not finite or no rotation; an image without a frame, a frame
            without its rig, a rig without the camera; poses of frames that are not those of images.
    """
    own = {i: matrix_of(image.pose) for i, image in files.images.items()}
    if not files.frames:
        _check_finite(files, "images", own)
        return own
    by_frame = _frame_poses(files)
    _check_finite(files, "frames", by_frame)
    moved = [files.images[i].name for i in _moved(files, own, by_frame)]
    if moved:
        raise SceneError(
            f"{files.path('frames').name} and {files.path('images').name} of {files.folder} place"
            f" {len(moved)} of {len(own)} photos differently, first {min(moved)!r}",
            expected="expected one pose of each photo",
            action=_way_out(files, own, by_frame, K),
        )
    return by_frame


def matrix_of(pose: np.ndarray) -> np.ndarray:
    """Returns the matrix [4, 4] of a quaternion w x y z and a translation [7].

    The quaternion may have any length, since text files round; without one, or where a number is
    not finite, the matrix is NaN.
    """
    matrix = np.full((4, 4), np.nan)
    if (np.abs(pose) < LARGEST_COORDINATE).all() and np.linalg.norm(pose[:4]) > 1e-6:
        matrix[:3, :3] = Rotation.from_quat(pose[[1, 2, 3, 0]]).as_matrix()
        matrix[:3, 3] = pose[4:]
        matrix[3] = [0.0, 0.0, 0.0, 1.0]
    return matrix


def _check_finite(files: ColmapFiles, file: str, poses: Poses) -> None:
    for image_id, pose in poses.items():
        if not (np.abs(pose) < LARGEST_COORDINATE).all():  # also NaN
            raise SceneError(
                f"{files.path(file)} holds a pose of image {files.images[image_id].name!r} that is"
                " damaged",
                expected="expected a rotation and finite numbers",
                action="run colmap mapper again, or remove the image from the model",
            )


def _frame_poses(files: ColmapFiles) -> Poses:
    """Returns what frames and rigs say of the images that the model has."""
    poses: Poses = {}
    for frame_id, frame in files.frames.items():
        for image_id in frame.images:
            if image_id in files.images:  # tools that remove images leave their frames
                poses[image_id] = _frame_pose(files, frame_id, frame, image_id)
    without = [image.name for i, image in files.images.items() if i not in poses]
    if without:
        _refuse(
            files,
            f"{files.path('frames')} has no frame of {len(without)} of {len(files.images)} images,"
            f" first {min(without)!r}",
        )
    return poses


def _frame_pose(files: ColmapFiles, frame_id: int, frame: FrameRecord, image_id: int) -> np.ndarray:
    image, sensor = files.images[image_id], frame.images[image_id]
    if image.camera_id != sensor[1]:
        _refuse(
            files,
            f"{files.path('frames')} gives {image.name!r} the camera {sensor[1]},"
            f" {files.path('images').name} {image.camera_id}",
        )
    rig = files.rigs.get(frame.rig_id)
    if rig is None or sensor not in rig.sensors:
        missing = f"rig {frame.rig_id}" if rig is None else f"camera {sensor[1]} in its rig"
        _refuse(
            files,
            f"{files.path('rigs')} lacks {missing}, with which frame {frame_id} took"
            f" {image.name!r}",
        )
    cam_from_rig = rig.sensors[sensor]
    if cam_from_rig is None:
        _refuse(files, f"{files.path('rigs')} does not say where camera {sensor[1]} is in its rig")
    rig_from_world = matrix_of(frame.pose)
    is_origin = sensor == next(iter(rig.sensors))
    return rig_from_world if is_origin else np.asarray(matrix_of(cam_from_rig) @ rig_from_world)


def _refuse(files: ColmapFiles, found: str) -> NoReturn:
    raise SceneError(
        found,
        expected="expected a frame of each image, taken with a camera of its rig",
        action=f"{_without_frames(files)}: poses are then those of {files.path('images').name}",
    )


def _without_frames(files: ColmapFiles) -> str:
    names = " and ".join(files.path(file).name for file in ("rigs", "frames"))
    return f"remove {names}, which programs older than COLMAP 3.12 leave as they were"


def _moved(files: ColmapFiles, own: Poses, by_frame: Poses) -> list[int]:
    """Returns the ids of images that frames place elsewhere than their own lines do."""
    ids = list(own)
    one, other = np.stack([by_frame[i] for i in ids]), np.stack([own[i] for i in ids])
    centers = camera_centers(one)
    extent = cameras_radius(centers, _finite_points(files))
    turns = np.abs(one - other)[:, :3, :3].max(axis=(1, 2))
    shifts = np.linalg.norm(centers - camera_centers(other), axis=1)
    is_same = (turns < _LARGEST_TURN) & (shifts < _LARGEST_SHIFT * extent)  # False for NaN
    return [i for i, same in zip(ids, is_same, strict=True) if not same]


def _way_out(
    files: ColmapFiles, own: Poses, by_frame: Poses, K: Mapping[int, np.ndarray] | None
) -> str:
    """Returns what to do about two poses of a photo, by which of them see more of the points."""
    rewrite = (
        f"write {files.path('images').name} anew with colmap model_converter, which takes frames"
    )
    if K is not None:
        by_images, by_frames = (_seen(files, poses, K) for poses in (own, by_frame))
        if by_images > _MANY_MORE * by_frames:
            return f"the points fit images: {_without_frames(files)}"
        if by_frames > _MANY_MORE * by_images:
            return f"the points fit frames: {rewrite}"
    return f"{_without_frames(files)}, or {rewrite}"


def _seen(files: ColmapFiles, poses: Poses, K: Mapping[int, np.ndarray]) -> int:
    """Returns how many points the photos have in view, all together."""
    points = _finite_points(files)
    images = [files.images[i] for i in poses]
    cameras = [files.cameras[image.camera_id] for image in images]
    counts = points_in_view(
        np.stack(list(poses.values())),
        np.stack([K[image.camera_id] for image in images]),
        np.array([(camera.width, camera.height) for camera in cameras]),
        points[:: -(-len(points) // _SAMPLED_POINTS) or 1],
    )
    return int(counts.sum())


def _finite_points(files: ColmapFiles) -> np.ndarray:
    return files.points.xyz[(np.abs(files.points.xyz) < LARGEST_COORDINATE).all(axis=1)]
