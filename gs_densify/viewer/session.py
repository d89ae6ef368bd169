"""One browser window: a coarse picture while its camera moves, a sharp one when it rests."""

import math
import threading
import time
from collections.abc import Callable

import numpy as np

from gs_densify.errors import GsDensifyError
from gs_densify.viewer.camera import Camera
from gs_densify.viewer.pace import Pace
from gs_densify.viewer.paint import Look, Painter

REST = 0.15
"""Seconds without a change after which the camera rests."""
MOVING_SECONDS = 0.08
RESTING_SECONDS = 1.0
CPU_PIXELS = 160 * 120
"""The first size on a CPU, before anything is known about its speed."""


class Session:
    """Draws whenever the camera or the look of one window changes, until it is closed.

    Args:
        painter: draws the model.
        look: gives what to show now.
        show: takes a picture, uint8 [H, W, 3], whether the camera moves, and why it is not what the
            look asks for; empty where nothing is wrong. None in place of a picture that cannot be
            drawn.
        failed: takes what else `painter` or `show` raised; the session has ended then.
        rest: seconds without a change after which the camera rests.
    """

    def __init__(
        self,
        painter: Painter,
        look: Callable[[], Look],
        show: Callable[[np.ndarray | None, bool, str], None],
        failed: Callable[[Exception], None],
        *,
        rest: float = REST,
    ) -> None:
        first = CPU_PIXELS if painter.device.type == "cpu" else math.inf
        self._paces = {True: Pace(MOVING_SECONDS, first), False: Pace(RESTING_SECONDS, first)}
        self._painter, self._look, self._show, self._failed = painter, look, show, failed
        self._rest = rest
        self._aim: tuple[Camera, int, int] | None = None
        self._changed = threading.Event()
        self._closed = False
        # Daemonic, so that a picture which never ends does not keep the process alive.
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Draws from now on."""
        self._thread.start()

    def move(self, camera: Camera, width: int, height: int) -> None:
        """Is told that the window looks through `camera` and has width x height pixels."""
        if (camera, width, height) != self._aim:
            self._aim = (camera, width, height)
            self._changed.set()

    def redraw(self) -> None:
        """Draws again: the look has changed."""
        self._changed.set()

    def close(self) -> None:
        """Draws no more once the present picture is done."""
        self._closed = True
        self._changed.set()

    def join(self, timeout: float) -> bool:
        """Waits for the last picture; says whether it came within `timeout` seconds."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._draw_all()
        except Exception as error:
            if not self._closed:  # a window that has gone cannot be shown anything
                self._failed(error)

    def _draw_all(self) -> None:
        is_sharp = True
        while True:
            moving = self._changed.wait(None if is_sharp else self._rest)
            self._changed.clear()
            if self._closed:
                return
            if self._aim is not None:
                is_sharp = self._draw(*self._aim, moving)

    def _draw(self, camera: Camera, width: int, height: int, moving: bool) -> bool:
        """Draws one picture; says whether another one at rest would be no larger."""
        look, trouble = self._look(), ""
        if look.beside is not None and look.beside.camera.is_at(camera):
            if moving:  # it takes its time, and is not read while it changes
                return False
            try:
                comparison = self._painter.comparison(look.beside, width, height)
            except GsDensifyError as error:  # of this photo: other windows are not concerned
                trouble = str(error)
            else:
                self._show(comparison, moving, "")
                return True
        pace = self._paces[moving]
        size = pace.fit(width, height)
        started = time.perf_counter()
        try:
            picture = self._painter.picture(camera, *size, look)
        except GsDensifyError as error:  # as where memory is full: a smaller window may have room
            self._show(None, moving, str(error))
            return True
        self._show(picture, moving, trouble)
        pace.learn(size[0] * size[1], time.perf_counter() - started)
        larger = pace.fit(width, height)
        return not moving and larger[0] * larger[1] < 1.2 * size[0] * size[1]
