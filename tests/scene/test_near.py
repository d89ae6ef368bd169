"""The near plane: by the depths of the points, in any world, whatever SfM got wrong."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_normalize import make_world, random_similarity

from gs_densify.scene.extent import camera_distance
from gs_densify.scene.near_plane import near_plane
from gs_densify.scene.normalize import (
    camera_centers,
    normalizing_transform,
    transform_points,
    transform_poses,
)
from gs_densify.scene.scene import View


def views_of(poses: np.ndarray) -> list[View]:
    K = np.array([[50.0, 0, 50], [0, 50, 40], [0, 0, 1]])
    return [View(f"{i}.png", Path(f"{i}.png"), 1, pose, K, 100, 80) for i, pose in enumerate(poses)]


def ahead(pose: np.ndarray, depth: float, count: int) -> np.ndarray:
    """Points on the optical axis, [count, 3]."""
    points = np.tile([0.0, 0.0, depth, 1.0], (count, 1))
    return (points @ np.linalg.inv(pose).T)[:, :3]


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), scale=st.floats(1e-3, 1e3))
def test_follows_the_world(seed: int, scale: float) -> None:
    poses, points = make_world(seed)
    points = np.concatenate([points, ahead(poses[0], 0.16, 10)])
    similarity = random_similarity(seed, scale)
    assert near_plane(views_of(poses), points) == pytest.approx(0.08, rel=6e-3)
    moved = views_of(transform_poses(similarity, poses))
    there = near_plane(moved, transform_points(similarity, points))
    assert there == pytest.approx(0.08 * scale, rel=6e-3)


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_is_the_same_place_in_every_world_that_a_run_can_train_in(seed: int) -> None:
    poses, points = make_world(seed)
    points = np.concatenate([points, ahead(poses[0], 0.16, 10)])
    depths = []
    for world in ("cameras", "focus", "none"):
        similarity = normalizing_transform(poses, points, world)
        moved = views_of(transform_poses(similarity, poses))
        unit = np.cbrt(np.linalg.det(similarity[:3, :3]))
        depths.append(near_plane(moved, transform_points(similarity, points)) / unit)
    assert depths == pytest.approx([depths[2]] * 3, rel=6e-3)


def test_is_a_twentieth_to_a_hundredth_of_the_cameras_distance() -> None:
    poses, points = make_world(0)
    distance = camera_distance(camera_centers(poses), points)
    most, least = (float(f"{share * distance:.3g}") for share in (0.05, 0.01))
    assert near_plane(views_of(poses), points) == most, "everything is far"
    assert near_plane(views_of(poses), np.empty((0, 3))) == most
    touching = np.concatenate([points, ahead(poses[0], 1e-4, 50)])
    assert near_plane(views_of(poses), touching) == least, "as near as gsplat draws"


def test_one_close_up_among_many_views_keeps_its_subject() -> None:
    poses, points = make_world(2, num_views=200)
    many = np.concatenate([points] * 40)
    subject = ahead(poses[7], 0.1, 100)
    assert near_plane(views_of(poses), np.concatenate([many, subject])) == pytest.approx(0.05)


def test_a_few_wrong_points_before_a_camera_do_not_count() -> None:
    poses, points = make_world(1)
    many = np.concatenate([points] * 40)
    expected = near_plane(views_of(poses), many)
    dust = [ahead(pose, 0.001, 10) for pose in poses]
    assert near_plane(views_of(poses), np.concatenate([many, *dust])) == expected
