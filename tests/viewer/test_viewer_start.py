"""A window opens upright, with the model in its middle, from where it can be seen."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from gs_densify.scene.upright import up_of_photos
from gs_densify.viewer.camera import Camera, camera_from
from gs_densify.viewer.frusta import frustum_size
from gs_densify.viewer.shots import Shot
from gs_densify.viewer.start import (
    COLMAP_UP,
    FOV,
    Z_UP,
    StartingPoint,
    bulk_of,
    start_at_photos,
    start_beside,
    up_of_bulk,
)

UP = np.array([0.0, 0.0, 1.0])


def looking(position: np.ndarray, target: np.ndarray, up: np.ndarray = UP) -> Camera:
    """A level camera at `position` that looks at `target`."""
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    return camera_from(
        np.stack([right, np.cross(forward, right), forward], axis=1), position, 0.6, 0.4
    )


def arc(degrees: float, height: float, target: np.ndarray, count: int = 12) -> list[Camera]:
    """Cameras on a part of a circle of radius 3 about `target`, all above it."""
    angles = np.radians(np.linspace(0, degrees, count))
    places = 3 * np.stack([np.cos(angles), np.sin(angles), 0 * angles + height / 3], axis=1)
    return [looking(target + place, target) for place in places]


def splats(means: np.ndarray, *, size: float = 0.05, opacity: float = 3.0) -> dict:
    count = len(means)
    return {
        "means": torch.tensor(means, dtype=torch.float32),
        "scales": torch.full((count, 3), float(np.log(size))),
        "opacities": torch.full((count,), opacity),
    }


def ball(middle: np.ndarray, radius: float, count: int = 400) -> np.ndarray:
    points = np.random.default_rng(0).normal(size=(count, 3))
    return middle + radius * points / np.linalg.norm(points, axis=1, keepdims=True)


@settings(max_examples=30)
@given(
    st.floats(60, 360),
    st.floats(0, 4),
    st.integers(0, 1000),
)
def test_up_is_the_vertical_of_level_cameras_on_any_part_of_a_circle(
    degrees: float, height: float, seed: int
) -> None:
    """Where they look down from one side, the mean of their own ups leans by up to 50 degrees."""
    turn = Rotation.random(random_state=seed).as_matrix()
    poses = np.stack([camera.viewmat() for camera in arc(degrees, height, np.zeros(3))])
    poses[:, :3, :3] = poses[:, :3, :3] @ turn.T
    assert np.degrees(np.arccos(np.clip(up_of_photos(poses) @ turn @ UP, -1, 1))) < 5


def test_cameras_side_by_side_say_up_by_their_own() -> None:
    cameras = [looking(np.array([x, -3.0, 0.0]), np.array([x, 0.0, 0.0])) for x in (0, 1, 2.0)]
    up = up_of_photos(np.stack([camera.viewmat() for camera in cameras]))
    np.testing.assert_allclose(up, UP, atol=1e-6)


def test_starts_at_a_photo_that_has_in_its_middle_what_all_look_at() -> None:
    target = np.array([5.0, -2.0, 1.0])
    cameras = [
        looking(target + np.array([0, 4, 1]), target + np.array([2, 0, 0])),
        *arc(200, 1.0, target),
    ]
    bulk = bulk_of(splats(ball(target + 1, 3.0)))  # its middle is not what they look at
    start = start_at_photos([Shot("a", camera) for camera in cameras], bulk, Z_UP)
    assert start.position in [camera.position for camera in cameras[1:]]
    np.testing.assert_allclose(start.look_at, target, atol=0.05)
    assert start.fov == pytest.approx(2 * np.arctan(0.4))
    assert start.aspect == pytest.approx(1.5)
    assert start.position in [camera.position for camera in cameras[6:8]]  # of the arc's middle


def test_photos_that_look_outwards_are_looked_through() -> None:
    middle = np.zeros(3)
    cameras = [
        looking(middle + camera.position, 2.0 * np.array(camera.position))
        for camera in arc(360, 0, middle)
    ]
    bulk = bulk_of(splats(ball(middle, 9.0)))
    start = start_at_photos([Shot("a", one) for one in cameras], bulk, Z_UP)
    assert start.position == cameras[0].position
    ahead = np.subtract(start.look_at, start.position)
    assert ahead @ cameras[0].viewmat()[2, :3] == pytest.approx(np.linalg.norm(ahead))


def test_photos_side_by_side_turn_about_the_model_before_them() -> None:
    cameras = [looking(np.array([x, -3.0, 0.0]), np.array([x, 0.0, 0.0])) for x in (-1, 0, 1.0)]
    bulk = bulk_of(splats(ball(np.array([0.0, 2.0, 0.0]), 1.0)))
    start = start_at_photos([Shot("a", one) for one in cameras], bulk, Z_UP)
    assert start.position == (0.0, -3.0, 0.0)
    np.testing.assert_allclose(start.look_at, [0, 2, 0], atol=0.3)


@pytest.mark.parametrize("up", [Z_UP, COLMAP_UP, (1.0, 0.0, 0.0), (0.0, -0.8, 0.6)])
@pytest.mark.parametrize("count", [1, 200])
def test_starts_beside_and_above_a_model_without_cameras(up: tuple, count: int) -> None:
    means = ball(np.array([7.0, 0.0, 1.0]), 2.0, count)
    far = np.random.default_rng(1).normal(size=(count // 3, 3)) * 100
    start = start_beside(bulk_of(splats(np.concatenate([means, far]))), up)
    offset = np.subtract(start.position, start.look_at)
    assert 0 < offset @ up < 0.5 * np.linalg.norm(offset)
    radius = np.linalg.norm(means - start.look_at, axis=1).max()
    assert radius < 2 * np.tan(FOV / 2) * np.linalg.norm(offset) < 20


def test_starts_from_the_side_that_no_wall_hides() -> None:
    steps = np.linspace(-3, 3, 40)
    wall = np.stack([*np.meshgrid(steps, steps), np.full((40, 40), -1.8)], axis=-1).reshape(-1, 3)
    means = np.concatenate([ball(np.zeros(3), 1.0, 3000), wall])
    open_side = start_beside(bulk_of(splats(means[:3000], size=0.2)), COLMAP_UP)
    assert open_side.position[2] < -1.5
    assert start_beside(bulk_of(splats(means, size=0.2)), COLMAP_UP).position[2] > -1.5


@pytest.mark.parametrize(
    ("stretch", "tilt", "expected"),
    [
        ((3, 1, 3), 0, COLMAP_UP),
        ((3, 3, 1), 0, Z_UP),
        ((3, 2, 2), 0, COLMAP_UP),
        ((3, 0.2, 3), 30, (0.0, -np.cos(np.pi / 6), -0.5)),
        ((3, 3, 0.2), 0, Z_UP),
    ],
)
def test_a_model_without_cameras_is_wider_than_high(stretch, tilt: float, expected) -> None:
    means = ball(np.zeros(3), 1.0, 2000) * stretch
    means = means @ Rotation.from_euler("x", tilt, degrees=True).as_matrix().T
    np.testing.assert_allclose(up_of_bulk(bulk_of(splats(means))), expected, atol=0.06)


def test_frusta_are_small() -> None:
    centers = np.array([camera.position for camera in arc(360, 1, np.zeros(3), 150)])
    assert frustum_size(centers) < 0.3 * np.linalg.norm(centers[1] - centers[0]) * 1.01
    assert frustum_size(centers[::50]) < 0.1
    assert frustum_size(centers[:1]) > 0
    assert frustum_size(np.repeat(centers[:1], 3, axis=0)) > 0


def test_the_first_look_is_whole_in_a_window_of_any_shape_until_it_is_left() -> None:
    pytest.importorskip("viser")
    from gs_densify.viewer.steering import FirstLook

    start = StartingPoint((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), fov=0.8, aspect=1.5)
    look, window = FirstLook(start), SimpleNamespace(fov=0.8, aspect=1.7)
    look.fit(window)
    assert window.fov == 0.8
    for window.aspect in (1.0, 0.5, 1.2):
        look.fit(window)
        assert np.tan(window.fov / 2) * window.aspect == pytest.approx(1.5 * np.tan(0.4))
    window.fov, window.aspect = 0.5, 0.9
    look.fit(window)
    window.fov = 0.8
    look.fit(window)
    assert window.fov == 0.8
