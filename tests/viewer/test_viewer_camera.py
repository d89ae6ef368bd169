"""What a browser says about its camera becomes the camera of the picture, exactly."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from gs_densify.scene.scene import View
from gs_densify.viewer.camera import Camera, camera_of, fov_that_shows

coordinate = st.floats(-100, 100)
component = st.floats(-1, 1)
quaternions = st.tuples(component, component, component, component).filter(
    lambda q: np.linalg.norm(q) > 0.1
)
focal_lengths = st.floats(20, 2000)
sizes = st.integers(8, 4000)


def make_view(rotation: np.ndarray, centre: np.ndarray, fx: float, fy: float, size) -> View:
    pose = np.eye(4)
    pose[:3, :3] = rotation
    pose[:3, 3] = -rotation @ centre
    K = np.array([[fx, 0, size[0] / 2], [0, fy, size[1] / 2], [0, 0, 1.0]])
    return View("a.png", Path("a.png"), 1, pose, K, *size)


@given(quaternions, st.tuples(coordinate, coordinate, coordinate), focal_lengths, focal_lengths)
def test_a_photos_camera_comes_back(quat, centre, fx: float, fy: float) -> None:
    view = make_view(Rotation.from_quat(quat).as_matrix(), np.array(centre), fx, fy, (300, 200))
    camera = camera_of(view)
    np.testing.assert_allclose(camera.viewmat(), view.cam_from_world, atol=1e-12 * 200)
    np.testing.assert_allclose(camera.intrinsics(300, 200), view.K, rtol=1e-12)


def test_axes_are_opencvs() -> None:
    """Half a turn about x: the camera looks along -z of the world, its up is +y."""
    viewmat = Camera((0, 1, 0, 0), (1, 2, 3), fov=1.0, aspect=1.0).viewmat()
    np.testing.assert_allclose(viewmat @ [1, 2, 1, 1], [0, 0, 2, 1], atol=1e-12)
    np.testing.assert_allclose(viewmat @ [1, 3, 3, 1], [0, -1, 0, 1], atol=1e-12)


@given(st.floats(0.1, 3.0), sizes, sizes, sizes, sizes)
def test_a_picture_of_any_size_shows_the_same(fov, width, height, columns, rows) -> None:
    """Corners of the picture are corners of the window, at the top by half the field of view."""
    camera = Camera((1, 0, 0, 0), (0, 0, 0), fov, width / height)
    inverse = np.linalg.inv(camera.intrinsics(columns, rows))
    top = math.tan(fov / 2)
    np.testing.assert_allclose(
        inverse @ [columns, 0, 1], [top * width / height, -top, 1], rtol=1e-9
    )
    np.testing.assert_allclose(inverse @ [columns / 2, rows / 2, 1], [0, 0, 1], atol=1e-9)


@given(st.floats(0.1, 2.9), st.floats(0.2, 5), st.floats(0.2, 5))
def test_a_window_shows_all_of_a_photo_and_no_more_than_it_must(fov, of_photo, of_window) -> None:
    shown = math.tan(fov_that_shows(Camera((1, 0, 0, 0), (0, 0, 0), fov, of_photo), of_window) / 2)
    needed = math.tan(fov / 2)
    margins = (shown / needed, shown * of_window / (needed * of_photo))
    assert min(margins) == pytest.approx(1.0)
