"""The near plane: by the depths of the points, in any world, whatever SfM got wrong."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_normalize import make_world, random_similarity

from gs_densify.data.near import near_plane
from gs_densify.data.normalize import camera_centers, transform_points, transform_poses
from gs_densify.data.scene import View


def views_of(poses: np.ndarray) -> list[View]:
    K = np.array([[50.0, 0, 50], [0, 50, 40], [0, 0, 1]])
    return [View(f"{i}.png", Path(f"{i}.png"), 1, pose, K, 100, 80) for i, pose in enumerate(poses)]


def ahead(pose: np.ndarray, depth: float, count: int = 1) -> np.ndarray:
    """Points on the optical axis, [count, 3]."""
    points = np.tile([0.0, 0.0, depth, 1.0], (count, 1))
    return (points @ np.linalg.inv(pose).T)[:, :3]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(1e-3, 1e3))
def test_follows_the_world(seed: int, scale: float) -> None:
    poses, points = make_world(seed)
    points = np.concatenate([points, ahead(poses[0], 0.06, 10)])
    similarity = random_similarity(seed, scale)
    here = near_plane(views_of(poses), points)
    moved = views_of(transform_poses(similarity, poses))
    there = near_plane(moved, transform_points(similarity, points))
    assert here == pytest.approx(0.03, rel=1e-6)
    assert there == pytest.approx(scale * here, rel=1e-6)


def test_is_a_twentieth_of_the_cameras_distance_where_everything_is_far() -> None:
    poses, points = make_world(0)
    centers = camera_centers(poses)
    distance = np.linalg.norm(centers - centers.mean(axis=0), axis=1).mean()
    assert near_plane(views_of(poses), points) == pytest.approx(0.05 * distance)
    behind = ahead(poses[0], -100.0)
    assert near_plane(views_of(poses[:1].repeat(2, 0)), behind) == pytest.approx(5.0, rel=1e-3)
    assert near_plane(views_of(poses), np.empty((0, 3))) == pytest.approx(0.05 * distance)


def test_a_few_wrong_points_before_a_camera_do_not_count() -> None:
    poses, points = make_world(1)
    many = np.concatenate([points] * 40)
    expected = near_plane(views_of(poses), many)
    dust = ahead(poses[0], 1e-3)
    assert near_plane(views_of(poses), np.concatenate([many, dust])) == expected
    near = ahead(poses[0], 0.02, 400)
    assert near_plane(views_of(poses), np.concatenate([many, near])) == pytest.approx(0.01)
