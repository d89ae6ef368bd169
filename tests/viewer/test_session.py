"""Coarse while the camera moves, sharp when it rests; without a browser and without a clock."""

import dataclasses
import queue
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from gs_densify.errors import BackendError, SceneError
from gs_densify.viewer.camera import Camera
from gs_densify.viewer.paint import Look
from gs_densify.viewer.session import Session
from gs_densify.viewer.shots import Shot

TIMEOUT = 30.0
NEVER = 1e6  # seconds
LOOK = Look(sh_degree=0)


def camera(x: float) -> Camera:
    return Camera((1, 0, 0, 0), (x, 0, 0), fov=1.0, aspect=1.5)


class Stage:
    """A painter that waits until the test lets it paint, and a window that keeps pictures."""

    # On "cuda" pictures are whole from the start; nothing is computed in either case.

    def __init__(self, rest: float, device: str = "cuda") -> None:
        self.device = torch.device(device)
        self.look = LOOK
        self.troubles: queue.Queue = queue.Queue()
        self.asked: queue.Queue = queue.Queue()
        self.allowed: queue.Queue = queue.Queue()
        self.shown: queue.Queue = queue.Queue()
        self.failures: queue.Queue = queue.Queue()
        self.session = Session(
            self,  # type: ignore[arg-type]
            lambda: self.look,
            self._show,
            self.failures.put,
            rest=rest,
        )

    def picture(self, camera: Camera, width: int, height: int, look: Look) -> np.ndarray:
        self.asked.put(camera.position[0])
        answer = self.allowed.get(timeout=TIMEOUT)
        if isinstance(answer, Exception):
            raise answer
        return np.zeros((height, width, 3), dtype=np.uint8)

    def comparison(self, shot: Shot, width: int, height: int) -> np.ndarray:
        raise SceneError(f"{shot.name} is not there")

    def _show(self, image: np.ndarray | None, moving: bool, trouble: str) -> None:
        self.shown.put((None if image is None else image.shape, moving))
        self.troubles.put(trouble)

    def paint(self) -> tuple[float, bool]:
        """Let one picture be painted; where its camera was, and whether it counted as moving."""
        self.allowed.put(None)
        return self.asked.get(timeout=TIMEOUT), self.shown.get(timeout=TIMEOUT)[1]


@pytest.fixture(params=[0.0, NEVER])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    stage = Stage(rest=request.param)
    stage.session.start()
    yield stage
    stage.session.close()
    stage.allowed.put(None)  # where one is being painted
    assert stage.session.join(TIMEOUT)


@pytest.mark.parametrize("stage", [0.0], indirect=True)
def test_a_change_is_drawn_coarse_and_then_sharp_and_then_nothing(stage: Stage) -> None:
    stage.session.move(camera(1), 60, 40)
    assert [stage.paint(), stage.paint()] == [(1, True), (1, False)]
    stage.session.move(camera(1), 60, 40)  # viser repeats cameras
    stage.session.move(camera(2), 60, 40)
    assert [stage.paint(), stage.paint()] == [(2, True), (2, False)]
    stage.session.redraw()
    assert [stage.paint(), stage.paint()] == [(2, True), (2, False)]
    assert stage.asked.empty() and stage.shown.empty()


@pytest.mark.parametrize("stage", [NEVER], indirect=True)
def test_a_moving_camera_is_drawn_where_it_is_by_then(stage: Stage) -> None:
    stage.session.move(camera(1), 60, 40)
    assert stage.asked.get(timeout=TIMEOUT) == 1
    for x in (2, 3, 4):  # while the first is being painted
        stage.session.move(camera(x), 60, 40)
    stage.allowed.put(None)
    assert stage.shown.get(timeout=TIMEOUT) == ((40, 60, 3), True)
    assert stage.paint() == (4, True)


@pytest.mark.parametrize("stage", [NEVER], indirect=True)
def test_nothing_is_drawn_before_the_window_has_said_where_it_looks(stage: Stage) -> None:
    stage.session.redraw()
    stage.session.move(camera(5), 60, 40)
    assert stage.paint() == (5, True)


@pytest.mark.parametrize("stage", [0.0], indirect=True)
def test_what_goes_wrong_is_handed_on(stage: Stage) -> None:
    error = RuntimeError("a fault of ours")
    stage.session.move(camera(1), 60, 40)
    stage.allowed.put(error)
    assert stage.failures.get(timeout=TIMEOUT) is error


@pytest.mark.parametrize("stage", [0.0], indirect=True)
def test_a_picture_that_memory_does_not_hold_is_said_and_the_window_goes_on(stage: Stage) -> None:
    stage.session.move(camera(1), 60, 40)
    stage.allowed.put(None)
    assert stage.shown.get(timeout=TIMEOUT) == ((40, 60, 3), True)
    stage.allowed.put(BackendError("GPU memory ran out"))
    assert stage.shown.get(timeout=TIMEOUT) == (None, False)
    assert [stage.troubles.get(timeout=TIMEOUT) for _ in range(2)] == ["", "GPU memory ran out"]
    assert [stage.asked.get(timeout=TIMEOUT) for _ in range(2)] == [1, 1]
    stage.session.move(camera(2), 60, 40)
    assert [stage.paint(), stage.paint()] == [(2, True), (2, False)]
    assert stage.failures.empty()


@pytest.mark.parametrize("stage", [0.0], indirect=True)
def test_a_photo_that_is_gone_is_said_and_the_window_goes_on(stage: Stage) -> None:
    stage.look = dataclasses.replace(LOOK, beside=Shot("a.jpg", camera(1)))
    stage.session.move(camera(1), 60, 40)
    assert stage.paint() == (1, False)
    assert stage.troubles.get(timeout=TIMEOUT) == "a.jpg is not there"
    stage.session.move(camera(2), 60, 40)
    assert [stage.paint(), stage.paint()] == [(2, True), (2, False)]
    assert stage.troubles.get(timeout=TIMEOUT) == ""
    assert stage.failures.empty()


def test_a_cpu_starts_small_and_sharpens_until_the_picture_is_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "perf_counter", lambda: 0.0)  # a picture takes no time
    stage = Stage(rest=0.0, device="cpu")
    for _ in range(100):
        stage.allowed.put(None)
    stage.session.start()
    stage.session.move(camera(1), 600, 400)
    sizes = [stage.shown.get(timeout=TIMEOUT)[0][0]]
    while sizes[-1] < 400:
        sizes.append(stage.shown.get(timeout=TIMEOUT)[0][0])
    stage.session.close()
    assert sizes[0] <= 120 and sizes[-1] == 400 and len(sizes) > 3
