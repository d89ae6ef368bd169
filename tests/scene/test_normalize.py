"""The canonical worlds: one does not depend on the world COLMAP chose, the other is gsplat's."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from gs_densify.scene.extent import cameras_radius
from gs_densify.scene.load import load_scene
from gs_densify.scene.normalize import (
    World,
    camera_centers,
    is_usable_point,
    normalizing_transform,
    transform_points,
    transform_poses,
)


def make_world(seed: int, num_views: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Cameras on a rough ring that look inwards, and an elongated cloud."""
    rng = np.random.default_rng(seed)
    poses = []
    for angle in np.linspace(0, 5, num_views):
        center = np.array([3 * np.cos(angle), 2 * np.sin(angle), 1.0]) + rng.normal(size=3) * 0.2
        forward = -center / np.linalg.norm(center)
        right = np.cross(forward, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        pose = np.eye(4)
        pose[:3, :3] = np.stack([right, np.cross(forward, right), forward])
        pose[:3, 3] = -pose[:3, :3] @ center
        poses.append(pose)
    return np.stack(poses), rng.normal(size=(60, 3)) * [2.0, 0.8, 0.4]


def random_similarity(seed: int, scale: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    similarity = np.eye(4)
    similarity[:3, :3] = scale * Rotation.random(random_state=rng).as_matrix()
    similarity[:3, 3] = rng.normal(size=3) * 5 * scale
    return similarity


def project(poses: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Image coordinates at focal length 1."""
    camera = np.einsum("vij,pj->vpi", poses[:, :3, :3], points) + poses[:, None, :3, 3]
    return camera[..., :2] / camera[..., 2:]


def assert_similarity(transform: np.ndarray) -> None:
    linear = transform[:3, :3]
    scale = np.cbrt(np.linalg.det(linear))
    assert scale > 0 and np.isfinite(transform).all()
    np.testing.assert_allclose(linear @ linear.T, scale**2 * np.eye(3), atol=1e-9 * scale**2)
    np.testing.assert_array_equal(transform[3], [0, 0, 0, 1])


worlds = st.integers(0, 10_000)


@settings(max_examples=60)
@given(worlds)
def test_it_is_one_rotation_times_one_scale_and_does_what_it_promises(seed: int) -> None:
    poses, points = make_world(seed)
    transform = normalizing_transform(poses, points)
    assert_similarity(transform)
    moved = transform_poses(transform, poses)
    centers = camera_centers(moved)
    np.testing.assert_allclose(centers, transform_points(transform, camera_centers(poses)))
    np.testing.assert_allclose(centers.mean(axis=0), 0, atol=1e-9)
    assert np.linalg.norm(centers, axis=1).mean() == pytest.approx(1)
    up = -moved[:, 1, :3].mean(axis=0)
    np.testing.assert_allclose(up / np.linalg.norm(up), [0, 0, 1], atol=1e-9)
    assert centers[0, 0] > 0
    rotations = moved[:, :3, :3]
    np.testing.assert_allclose(
        rotations @ rotations.transpose(0, 2, 1), np.tile(np.eye(3), (9, 1, 1)), atol=1e-9
    )


@settings(max_examples=60)
@given(worlds, worlds, st.floats(1e-3, 1e3))
def test_any_similar_world_becomes_the_same_one(seed: int, other: int, scale: float) -> None:
    poses, points = make_world(seed)
    change = random_similarity(other, scale)
    poses2, points2 = transform_poses(change, poses), transform_points(change, points)
    first, second = normalizing_transform(poses, points), normalizing_transform(poses2, points2)
    np.testing.assert_allclose(
        transform_points(first, points), transform_points(second, points2), atol=1e-7
    )
    np.testing.assert_allclose(
        transform_poses(first, poses), transform_poses(second, poses2), atol=1e-7
    )


@settings(max_examples=60)
@given(worlds, st.sampled_from(["cameras", "focus"]))
def test_projections_stay_the_same(seed: int, world: World) -> None:
    poses, points = make_world(seed)
    points = points * 0.3
    transform = normalizing_transform(poses, points, world)
    before = project(poses, points)
    after = project(transform_poses(transform, poses), transform_points(transform, points))
    np.testing.assert_allclose(before, after, rtol=1e-8, atol=1e-8)


def test_x_is_the_long_side_of_the_cloud() -> None:
    poses, points = make_world(1)
    moved = transform_points(normalizing_transform(poses, points), points)
    assert moved[:, 0].std() > 1.5 * moved[:, 1].std()


def test_a_far_point_hardly_turns_the_axes() -> None:
    poses, points = make_world(2)
    many = np.concatenate([points] * 20)
    plain = normalizing_transform(poses, many)
    with_far = normalizing_transform(poses, np.concatenate([many, [[300.0, 1e5, 80.0]]]))
    cosine = plain[0, :3] @ with_far[0, :3] / (plain[0, :3] @ plain[0, :3])
    assert cosine > 0.999


@pytest.mark.parametrize("world", ["cameras", "focus"])
@pytest.mark.parametrize(
    ("poses", "points"),
    [
        (make_world(3, 1)[0], make_world(3)[1]),
        (make_world(3, 1)[0], np.zeros((0, 3))),
        (make_world(3, 1)[0], -camera_centers(make_world(3, 1)[0]) * 0 + [[1.0, 2, 3]]),
        (make_world(3)[0], np.zeros((0, 3))),
        (make_world(3)[0], np.array([[0.0, 0, 1]])),
        (make_world(3)[0], make_world(3)[1] * [1, 1, 0]),
        (make_world(3)[0], make_world(3)[1] * [0, 0, 1]),
        (np.repeat(make_world(3, 1)[0], 4, axis=0), make_world(3)[1]),
        (np.tile(np.eye(4), (3, 1, 1)), np.zeros((5, 3))),
    ],
    ids=[
        "one camera",
        "one camera, no points",
        "one camera, one point",
        "no points",
        "one point",
        "planar points",
        "points on a vertical line",
        "cameras in one place",
        "everything in one place",
    ],
)
def test_degenerate_worlds_still_get_a_similarity(
    poses: np.ndarray, points: np.ndarray, world: World
) -> None:
    transform = normalizing_transform(poses, points, world)
    assert_similarity(transform)
    np.testing.assert_array_equal(transform, normalizing_transform(poses, points, world))


def test_collinear_cameras_and_opposite_ups_get_a_similarity() -> None:
    line = np.tile(np.eye(4), (5, 1, 1))
    line[:, 0, 3] = np.arange(5)
    assert_similarity(normalizing_transform(line, make_world(4)[1]))
    assert cameras_radius(camera_centers(line), np.zeros((0, 3))) == 2
    flipped = line.copy()[:4]
    flipped[::2, :2, :2] *= -1
    transform = normalizing_transform(flipped, make_world(4)[1])
    assert_similarity(transform)
    up = transform_poses(transform, flipped)[0, 1, :3]
    np.testing.assert_allclose(up, [0, 0, -1], atol=1e-12)


def test_one_camera_is_scaled_by_its_points() -> None:
    poses, _ = make_world(5, 1)
    center = camera_centers(poses)
    points = center + np.array([[0.0, 0, 8], [8, 0, 0], [0, -8, 0]])
    assert cameras_radius(center, points) == pytest.approx(8)
    moved = transform_points(normalizing_transform(poses, points), points)
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), 1)


def test_points_on_cameras_and_points_at_infinity_are_not_usable() -> None:
    poses, points = make_world(6)
    centers = camera_centers(poses)
    extent = cameras_radius(centers, points)
    direction = np.array([0.0, 0, 1])
    bad = [
        centers[4],
        centers[4] + 0.9e-3 * extent * direction,
        [np.nan, 0, 0],
        [0, np.inf, 0],
        [0, 0, -1e300],
    ]
    good = [centers[4] + 1.1e-3 * extent * direction, points[0], [1e9, 0, 0]]
    usable = is_usable_point(np.array([*bad, *good]), centers)
    assert usable.tolist() == [False] * 5 + [True] * 3
    assert not is_usable_point(np.array(bad[2:]), centers).any()


def focus_unit(poses: np.ndarray) -> float:
    """gsplat's unit of length by hand: the median distance of the cameras to their focus."""
    from_cam = np.linalg.inv(poses)
    up = -from_cam[:, :3, 1].mean(axis=0)
    up /= np.linalg.norm(up)
    turn, _ = Rotation.align_vectors([[0.0, -1.0, 0.0]], [up])
    nearest = []
    for pose in from_cam:
        center, forward = turn.apply(pose[:3, 3]), turn.apply(pose[:3, 2])
        depth = np.linalg.lstsq(forward[:, None], -center, rcond=None)[0]
        nearest.append(center + depth * forward)
    focus = turn.inv().apply(np.median(nearest, axis=0))
    return float(np.median([np.linalg.norm(pose[:3, 3] - focus) for pose in from_cam]))


def off_origin(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Cameras and points of a world that has its origin, and its axes, somewhere else."""
    poses, points = make_world(seed, num_views=12)
    change = random_similarity(seed, scale=1.0)
    change[:3, 3] *= 0.2
    return transform_poses(change, poses), transform_points(change, points)


@settings(max_examples=60)
@given(worlds)
def test_the_focus_world_has_gsplats_unit_and_the_principal_axes_of_the_points(seed: int) -> None:
    poses, points = off_origin(seed)
    transform = normalizing_transform(poses, points, "focus")
    assert_similarity(transform)
    assert np.cbrt(np.linalg.det(transform[:3, :3])) == pytest.approx(1 / focus_unit(poses))
    moved = transform_points(transform, points)
    covariance = np.cov(moved.T)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-9)
    assert (np.diff(np.diag(covariance)) < 0).all()
    assert np.median(moved[:, 2]) < moved[:, 2].mean()
    assert camera_centers(transform_poses(transform, poses))[0, 0] > 0


def test_the_focus_worlds_origin_is_the_median_of_the_points_in_upright_axes() -> None:
    """For cameras that stand upright in COLMAP's axes these are the axes of the world."""
    poses, points = make_world(7)
    to_colmap = np.eye(4)
    to_colmap[:3, :3] = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]  # z up becomes y down
    poses, points = transform_poses(to_colmap, poses), transform_points(to_colmap, points)
    poses[:, :3, :3] = poses[:1, :3, :3]  # all look the same way, about upright
    up = -poses[0, 1, :3]
    turn, _ = Rotation.align_vectors([[0.0, -1.0, 0.0]], [up])
    middle = turn.inv().apply(np.median(turn.apply(points), axis=0))
    transform = normalizing_transform(poses, points, "focus")
    np.testing.assert_allclose(transform_points(transform, middle[None]), [[0, 0, 0]], atol=1e-12)


@settings(max_examples=30)
@given(worlds, st.floats(1e-3, 1e3))
def test_the_focus_world_does_not_depend_on_colmaps_unit(seed: int, scale: float) -> None:
    poses, points = off_origin(seed)
    change = np.diag([scale, scale, scale, 1.0])
    first = normalizing_transform(poses, points, "focus")
    second = normalizing_transform(
        transform_poses(change, poses), transform_points(change, points), "focus"
    )
    np.testing.assert_allclose(second @ change, first, atol=1e-9)


def test_a_world_that_stands_on_its_head_is_turned_about() -> None:
    """There every rotation of half a turn is the shortest; gsplat takes a mirror image."""
    poses, points = make_world(8)
    poses[:, :3, :3] = np.diag([-1.0, -1.0, 1.0])  # the up direction is +y
    transform = normalizing_transform(poses, points, "focus")
    assert_similarity(transform)
    assert np.cbrt(np.linalg.det(transform[:3, :3])) == pytest.approx(1 / focus_unit(poses))


def test_the_world_of_colmap_stays_as_it_is() -> None:
    np.testing.assert_array_equal(normalizing_transform(*make_world(9), "none"), np.eye(4))


SHARED = Path(__file__).parents[3] / "shared" / "scenes"


def test_gardens_radius_is_the_one_that_gsplat_prints() -> None:
    """Official poses. Without the rotation that sets the cameras upright, medians of coordinates
    are others, and the radius would be 1.2277."""
    garden = SHARED / "garden"
    if not garden.is_dir():
        pytest.skip(f"no real captures: {SHARED.name}/garden is not beside the repository")
    scene = load_scene(garden, name="garden", normalize="focus")
    assert 1.1 * scene.scene_scale == pytest.approx(1.22653, abs=1e-5)
    assert 1.1 * load_scene(garden, name="garden").scene_scale == pytest.approx(1.3151, abs=1e-4)
