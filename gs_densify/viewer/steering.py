"""The camera of a viser client: read it, take it somewhere, level it."""

import math

import viser

from gs_densify.viewer.camera import Camera, fov_that_shows
from gs_densify.viewer.start import Direction, StartingPoint


def camera_seen(handle: viser.CameraHandle) -> Camera:
    """Returns where the window looks from now; it must have pixels."""
    w, x, y, z = map(float, handle.wxyz)
    px, py, pz = map(float, handle.position)
    return Camera((w, x, y, z), (px, py, pz), float(handle.fov), float(handle.aspect))


def go_to(client: viser.ClientHandle, camera: Camera) -> None:
    """Takes the window to `camera`, and shows all that it sees."""
    fov = fov_that_shows(camera, client.camera.aspect)
    with client.atomic():
        client.camera.position = camera.position
        client.camera.wxyz = camera.wxyz
        client.camera.fov = fov


def stand_up(client: viser.ClientHandle, up: Direction, start: StartingPoint) -> None:
    """Makes `up` the direction that is upwards and that the window orbits about."""
    with client.atomic():
        client.camera.up_direction = up
        client.camera.position = start.position
        client.camera.look_at = start.look_at


def level(client: viser.ClientHandle) -> None:
    """Makes the up of the picture the direction that the window orbits about."""
    client.camera.up_direction = -camera_seen(client.camera).viewmat()[1, :3]


class FirstLook:
    """Keeps all of the first look in a window while that finds its size, which it has only once
    the panel is beside it; until another field of view is chosen.
    """

    def __init__(self, start: StartingPoint) -> None:
        self._start = start
        self._fov: float | None = start.fov

    def fit(self, handle: viser.CameraHandle) -> None:
        """Widens or narrows what the window shows, where it is as it was left."""
        if self._fov is None:
            return
        if not math.isclose(handle.fov, self._fov, rel_tol=1e-3):
            self._fov = None
            return
        wanted = fov_that_shows(self._start, handle.aspect)
        if not math.isclose(wanted, self._fov, rel_tol=1e-3):
            self._fov = handle.fov = wanted
