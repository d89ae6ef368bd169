"""The extent of a scene: the cameras' radius where it says something, and without odd cameras."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_near import views_of
from test_normalize import make_world, random_similarity

from gs_densify.capture.check import CheckOptions, check_capture
from gs_densify.config.options import TrainConfig
from gs_densify.runs.loaded_scene import load
from gs_densify.scene.extent import camera_distance, cameras_radius, extent_of, odd_cameras
from gs_densify.scene.in_view import depths_in_view, typical_depth
from gs_densify.scene.load import load_scene
from gs_densify.scene.near_plane import near_plane
from gs_densify.scene.normalize import (
    camera_centers,
    is_usable_point,
    normalizing_transform,
    transform_points,
)
from gs_densify.scene.presets import resolve_scene


def with_one_far(seed: int, index: int, times: float) -> tuple[np.ndarray, np.ndarray]:
    """A world of which one camera stands so many times as far from the middle, facing it."""
    poses, points = make_world(seed, 20)
    poses[index, :3, 3] *= times
    return poses, points


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 30))
def test_ordinary_cameras_have_their_plain_radius_to_the_last_bit(seed: int, count: int) -> None:
    poses, points = make_world(seed, count)
    centers = camera_centers(poses)
    assert not odd_cameras(centers, points).any()
    distances = np.linalg.norm(centers - centers.mean(axis=0), axis=1)
    if count > 1:
        assert cameras_radius(centers, points) == distances.max()
        assert camera_distance(centers, points) == distances.mean()


@settings(max_examples=30)
@given(
    seed=st.integers(0, 10_000),
    index=st.integers(0, 19),
    times=st.sampled_from([40.0, 1e3, 1e6, 1e12]),
    scale=st.floats(1e-3, 1e3),
)
def test_a_camera_far_away_is_odd_in_any_world_and_changes_nothing(
    seed: int, index: int, times: float, scale: float
) -> None:
    poses, points = with_one_far(seed, index, times)
    centers = camera_centers(poses)
    assert np.flatnonzero(odd_cameras(centers, points)).tolist() == [index]
    others = np.delete(poses, index, axis=0)
    assert cameras_radius(centers, points) == cameras_radius(camera_centers(others), points)
    assert near_plane(views_of(poses), points) == near_plane(views_of(others), points)
    transform = normalizing_transform(others, points)
    np.testing.assert_array_equal(normalizing_transform(poses, points), transform)
    assert is_usable_point(points, centers).all()
    moved = transform_points(random_similarity(seed, scale), centers)
    there = transform_points(random_similarity(seed, scale), points)
    assert np.flatnonzero(odd_cameras(moved, there)).tolist() == [index]


def test_a_camera_is_not_odd_beside_few_or_many_of_its_kind_or_far_points() -> None:
    poses, points = with_one_far(1, 3, 1e3)
    centers = camera_centers(poses)
    assert not odd_cameras(centers[2:4], points).any(), "which of two is odd cannot be said"
    three = np.array([[0.0, 0, 0], [1, 0, 0], [1e3, 0, 0]])
    assert odd_cameras(three, np.zeros((0, 3))).tolist() == [False, False, True]
    centers[4:6] *= 1e3
    assert not odd_cameras(centers, points).any(), "three of 20: there are two places"
    burst = np.array([[0.001 * i, 0, 0] for i in range(9)] + [[1.0, 0, 0]])
    subject = np.array([[0.0, 0, 2.5]] * 5)
    assert not odd_cameras(burst, subject).any(), "a burst and a step aside, before one subject"
    assert odd_cameras(burst, subject / 100).any()


def test_many_cameras_are_asked_in_a_moment() -> None:
    centers = np.random.default_rng(0).normal(size=(5000, 3))
    centers[4321] *= 1e3
    assert np.flatnonzero(odd_cameras(centers, np.zeros((0, 3)))).tolist() == [4321]


def test_the_extent_is_half_the_depth_where_that_is_more() -> None:
    assert extent_of(1.0, 1.7) == 1.0
    assert extent_of(1.0, 10.0) == 5.0
    assert extent_of(1.0, float("nan")) == 1.0, "no point is in view"


def test_the_typical_depth_is_that_of_what_is_in_the_pictures() -> None:
    view = views_of(np.eye(4)[None])[0]
    aside, behind = [50.0, 0, 5], [0, 0, -5]
    points = np.array([[0, 0, 2], [0, 0, 3], [0, 0, 9], aside, behind])
    assert sorted(depths_in_view(view.camera, points)) == [2, 3, 9]
    nearer = views_of(np.eye(4)[None])[0]
    nearer.cam_from_world[2, 3] = -1
    blind = views_of(np.diag([1.0, -1, -1, 1])[None])[0]
    assert typical_depth([view.camera, nearer.camera], points[:4]) == 2.5
    assert typical_depth([view.camera, blind.camera], points[:4]) == 3
    assert np.isnan(typical_depth([blind.camera], points[:4]))


def test_a_scene_is_as_large_as_its_cameras_radius_unless_they_stand_close_together(
    cached_tiny: Path,
) -> None:
    scene = load_scene(cached_tiny, name="tiny")
    assert scene.extent == scene.scene_scale and scene.doubts == ()
    views = tuple(
        replace(view, cam_from_world=pose)
        for view, pose in zip(scene.views, gathered(scene.views), strict=True)
    )
    narrow = replace(scene, views=views)
    depth = typical_depth([view.camera for view in views], scene.points)
    assert narrow.scene_scale < depth / 50 and narrow.extent == depth / 2


def gathered(views: tuple) -> np.ndarray:
    """Poses with a hundredth of the distance to the first camera."""
    poses = np.stack([view.cam_from_world for view in views])
    centers = camera_centers(poses)
    centers = centers[0] + 0.01 * (centers - centers[0])
    poses[:, :3, :3] = poses[0, :3, :3]
    poses[:, :3, 3] = -centers @ poses[0, :3, :3].T
    return poses


@pytest.mark.parametrize("times", [1e3, 1e4])
def test_a_misplaced_camera_costs_no_point_and_is_named(
    cached_tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, times: float
) -> None:
    """It used to be the radius of the scene: 378 of 640 points then lay on cameras, or all."""
    root = copied(cached_tiny, tmp_path)
    misplace(root, "005.png", times)
    with caplog.at_level(logging.WARNING):
        loaded = load(TrainConfig(scene=str(root), device="cpu"))
    plain = load_scene(cached_tiny, name="tiny")
    assert len(loaded.scene.points) == 640 and loaded.scene.dropped_points == 0
    assert loaded.scene.scene_scale == pytest.approx(plain.scene_scale, rel=0.1)
    assert loaded.near_plane == pytest.approx(near_plane(plain.views, plain.points), rel=0.1)
    (doubt,) = loaded.scene.doubts
    assert doubt.photos == ("005.png",) and str(doubt) in caplog.text
    assert "'005.png' stands" in doubt.found and "times as far away" in doubt.found


def test_points_that_are_left_out_are_said(cached_tiny: Path, tmp_path: Path) -> None:
    root = copied(cached_tiny, tmp_path)
    model = pycolmap.Reconstruction(root / "sparse/0")
    center = next(iter(model.images.values())).projection_center()
    for point in list(model.points3D.values())[:7]:
        point.xyz = center
    model.write_binary(root / "sparse/0")
    (doubt,) = load_scene(root, name="scene").doubts
    assert doubt.found.startswith("7 of 640 points are not finite, or lie on a camera")


def copied(scene: Path, folder: Path) -> Path:
    """A copy of a scene without another's files."""
    shutil.copytree(scene, folder / "scene")
    return folder / "scene"


def misplace(scene: Path, name: str, times: float) -> None:
    """Move a camera away from the origin, so many times as far."""
    model = pycolmap.Reconstruction(scene / "sparse/0")
    (image,) = (image for image in model.images.values() if image.name == name)
    pose = image.cam_from_world().matrix()
    image.frame.set_cam_from_world(
        image.camera_id,
        pycolmap.Rigid3d(np.concatenate([pose[:, :3], times * pose[:, 3:]], axis=1)),
    )
    model.write_binary(scene / "sparse/0")


def test_the_check_of_a_capture_names_the_misplaced_photo_first(
    cached_tiny: Path, tmp_path: Path
) -> None:
    root = copied(cached_tiny, tmp_path)
    misplace(root, "005.png", 1e4)
    options = CheckOptions(gaussians=1000, image_budget=1e9, progress=False)
    report, _ = check_capture(resolve_scene(str(root)), options)
    assert report.findings[0].photos == ("005.png",)
    assert "times as far away as any other" in report.findings[0].text
