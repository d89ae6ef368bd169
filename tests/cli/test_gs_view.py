"""gs-view as a browser and a shell meet it."""

import importlib.util
import itertools
import json
import shutil
import signal
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import yaml
from commands import environment, refusal, run, start
from forks import Forked, command

from gs_densify.rendering.rasterizers import make_rasterizer
from gs_densify.rendering.renderer import Renderer
from gs_densify.viewer.model import Model, open_model
from gs_densify.viewer.paint import Look, Painter
from gs_densify.viewer.shots import Shot, ranked
from gs_densify.viewer.start import bulk_of, start_beside

needs_viser = pytest.mark.skipif(
    importlib.util.find_spec("viser") is None, reason="viser is not installed"
)
WIDTH, HEIGHT = 60, 40  # few enough pixels for a whole picture on any machine
TIMEOUT = 300.0


class Server:
    """A running gs-view."""

    def __init__(self, process: Forked) -> None:
        self.process = process
        self.greeting = process.first_line
        assert self.greeting, process.wait(TIMEOUT).said
        self.url = self.greeting.split()[0]

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """The exit code after a signal, and what stderr said."""
        self.process.kill(number)
        ended = self.process.wait(TIMEOUT)
        assert ended.code is not None and ended.out == f"{self.greeting}\n"
        return ended.code, ended.err


@contextmanager
def serving(*arguments: object, cwd: Path) -> Iterator[Server]:
    process = Forked(command("gs-view", [*arguments, "--port", "0"]), cwd, environment())
    try:
        yield Server(process)
    finally:
        process.kill(signal.SIGKILL)


@pytest.fixture(scope="module")
def server(finished_run: Path) -> Iterator[Server]:
    with serving(finished_run, "--device", "cpu", cwd=finished_run.parent) as running:
        yield running


@pytest.fixture(scope="module")
def model(finished_run: Path) -> Model:
    return open_model(finished_run)


@pytest.fixture(scope="module")
def painter(model: Model) -> Painter:
    return Painter(Renderer(make_rasterizer("reference"), model.settings), model.splats)


@pytest.fixture
def browser(server: Server):  # type: ignore[no-untyped-def]
    from viser_client import Browser

    with Browser(server.url, width=WIDTH, height=HEIGHT) as window:
        yield window


def trained(model: Model) -> list[Shot]:
    return [shot for shot in model.shots if shot.kind == "training"]


def _similar(picture: np.ndarray, expected: np.ndarray) -> bool:
    """Equal but for what JPEG does to it."""
    difference = np.abs(picture.astype(int) - expected.astype(int)).mean()
    return picture.shape == expected.shape and bool(difference < 6)


@needs_viser
def test_the_address_answers(server: Server) -> None:
    assert server.url.startswith("http://localhost:")
    assert "room one, adaptive, step 40" in server.greeting
    with urllib.request.urlopen(server.url, timeout=TIMEOUT) as response:
        assert response.status == 200 and b"<html" in response.read()


@needs_viser
def test_a_browser_sees_what_its_camera_sees(browser, model: Model, painter: Painter) -> None:
    """A training view, then another, then the other quantities; each within two pictures."""
    looks = [Look(sh_degree=3), Look(sh_degree=3, quantity="alpha")]
    first, second = (trained(model)[i].camera for i in (0, 10))
    seen = [
        *(painter.picture(camera, WIDTH, HEIGHT, looks[0]) for camera in (first, second)),
        painter.picture(second, WIDTH, HEIGHT, looks[1]),
    ]
    assert not any(_similar(seen[i], seen[j]) for i, j in ((0, 1), (1, 2)))
    browser.look(first.wxyz, first.position, first.fov)
    pictures = browser.pictures()
    assert all(_similar(next(pictures), seen[0]) for _ in range(2))  # moving, then at rest
    browser.look(second.wxyz, second.position, second.fov)
    assert all(_similar(next(pictures), seen[1]) for _ in range(2))
    browser.set("Show", "alpha")
    assert all(_similar(next(pictures), seen[2]) for _ in range(2))


@needs_viser
def test_two_browsers_look_at_different_things(browser, server, model, painter) -> None:
    from viser_client import Browser

    cameras = [trained(model)[i].camera for i in (3, 20)]
    expected = [painter.picture(one, WIDTH, HEIGHT, Look(sh_degree=3)) for one in cameras]
    assert not _similar(*expected)
    with Browser(server.url, width=WIDTH, height=HEIGHT) as other:
        for window, camera in zip((browser, other), cameras, strict=True):
            window.look(camera.wxyz, camera.position, camera.fov)
        for window, picture in zip((browser, other), expected, strict=True):
            assert _similar(next(window.pictures()), picture)


@needs_viser
def test_a_click_on_a_camera_chooses_its_photo(browser, model, painter) -> None:
    goal = model.shots[2].camera
    browser.look((1, 0, 0, 0), (0, 0, -5), 1.0)
    next(browser.pictures())
    messages = browser.messages()
    while "Cameras" not in browser.controls:
        next(messages)
    assert "/cameras" in browser.hidden
    assert set(browser.frusta) == {f"/cameras/{i}" for i in range(len(model.shots))}

    browser.click("/cameras/2")
    told: dict[str, dict] = {}
    while not {f"SetCamera{what}Message" for what in ("Position", "LookAt", "Fov")} <= told.keys():
        message = next(messages)
        told[message["type"]] = message
    position = np.array(told["SetCameraPositionMessage"]["position"])
    np.testing.assert_allclose(position, goal.position, atol=1e-9)
    forward = np.array(told["SetCameraLookAtMessage"]["look_at"]) - position
    np.testing.assert_allclose(forward / np.linalg.norm(forward), goal.viewmat()[2, :3], atol=1e-9)
    assert told["SetCameraFovMessage"]["fov"] == pytest.approx(goal.fov)  # of equal aspect
    browser.look(goal.wxyz, goal.position, goal.fov)
    expected = painter.comparison(model.shots[2], WIDTH, HEIGHT)
    assert any(_similar(one, expected) for one in itertools.islice(browser.pictures(), 4))
    browser.set("Go to photo", "choose one")


@needs_viser
def test_levelling_turns_about_the_pictures_vertical(browser, model: Model) -> None:
    camera = trained(model)[5].camera
    browser.look(camera.wxyz, camera.position, camera.fov)
    next(browser.pictures())
    browser.set("Level here", True)
    told = next(m for m in browser.messages() if m["type"] == "SetCameraUpDirectionMessage")
    np.testing.assert_allclose(told["position"], -camera.viewmat()[1, :3], atol=1e-9)


@needs_viser
def test_a_file_opens_by_the_cameras_beside_it_and_sigint_ends_it(finished_run: Path) -> None:
    ply = finished_run / "point_cloud.ply"
    with serving(ply, "--device", "cpu", cwd=finished_run.parent) as server:
        assert "point_cloud.ply" in server.greeting
        _check_that_it_opens_as(open_model(ply), server.url)
        assert server.end(signal.SIGINT) == (130, "gs-view: interrupted\n")


@needs_viser
def test_a_file_alone_can_be_stood_up_and_sigterm_ends_it(
    finished_run: Path, tmp_path: Path
) -> None:
    from viser_client import Browser

    ply = Path(shutil.copy(finished_run / "point_cloud.ply", tmp_path / "alone.ply"))
    start = start_beside(bulk_of(open_model(ply).splats), (1.0, 0.0, 0.0))
    with serving(ply, "--device", "cpu", cwd=tmp_path) as server:
        with Browser(server.url, width=WIDTH, height=HEIGHT) as window:
            window.look((1, 0, 0, 0), (0, 0, -5), 1.0)
            messages = window.messages()
            while "Up" not in window.controls:
                next(messages)
            window.set("Up", "+x")
            ups = (m for m in messages if m["type"] == "SetCameraUpDirectionMessage")
            assert next(one for one in ups if not one["initial"])["position"] == [1.0, 0.0, 0.0]
            place = next(m for m in messages if m["type"] == "SetCameraPositionMessage")
            np.testing.assert_allclose(place["position"], start.position, atol=1e-6)
        assert server.end(signal.SIGTERM) == (143, "")


@needs_viser
def test_a_scene_that_has_gone_is_said_and_done_without(finished_run: Path, tmp_path: Path) -> None:
    copy = _copy_with_scene(finished_run, tmp_path / "run", "no/such/place")
    with serving(copy, "--device", "cpu", cwd=tmp_path) as server:
        code, errors = server.end(signal.SIGINT)
    lines = errors.splitlines()
    assert code == 130 and len(lines) == 2
    assert lines[0].startswith("gs-view: without the photos: ") and "no/such/place" in lines[0]


def test_a_run_on_another_machine_has_its_cameras_and_scores(
    finished_run: Path, model: Model, tmp_path: Path
) -> None:
    alone = open_model(_copy_with_scene(finished_run, tmp_path / "run", "no/such/place"))
    np.testing.assert_allclose(alone.up, model.up, atol=1e-6)
    np.testing.assert_allclose(alone.start.position, model.start.position, atol=1e-6)
    for shot, own in zip(alone.shots, model.shots, strict=True):
        assert (shot.name, shot.kind, shot.scores) == (own.name, own.kind, own.scores)
        assert shot.view is None
        np.testing.assert_allclose(shot.camera.viewmat(), own.camera.viewmat(), atol=1e-6)
        np.testing.assert_allclose(shot.camera.intrinsics(9, 9), own.camera.intrinsics(9, 9))


def _check_that_it_opens_as(model: Model, url: str) -> None:
    """A new window is told an upright camera in the first place."""
    from viser_client import Browser

    wanted = {"Position": model.start.position, "LookAt": model.start.look_at}
    told: dict[str, dict] = {}
    with Browser(url, width=WIDTH, height=HEIGHT) as window:
        for message in window.messages():
            told.setdefault(message["type"], message)
            if {
                *(f"SetCamera{name}Message" for name in wanted),
                "SetCameraFovMessage",
            } <= told.keys():
                break
    for name, value in wanted.items():
        message = told[f"SetCamera{name}Message"]
        found = message["position" if name == "Position" else "look_at"]
        np.testing.assert_allclose(found, value, atol=1e-6)
    assert told["SetCameraFovMessage"]["fov"] == pytest.approx(model.start.fov)


@needs_viser
def test_the_worst_view_is_chosen_first_and_shown_beside_its_photo(
    browser, model: Model, painter: Painter
) -> None:
    worst = ranked(model.shots)[0]
    assert worst.scores is not None
    browser.look((1, 0, 0, 0), (0, 0, -5), 1.0)
    pictures = browser.pictures()
    next(pictures)
    while "Cameras" not in browser.controls:
        next(browser.messages())
    psnr = worst.scores["psnr"]
    assert browser.options["Go to photo"][1] == f"{worst.name}: {psnr:.2f} dB"
    browser.set("Go to photo", browser.options["Go to photo"][1])
    browser.look(worst.camera.wxyz, worst.camera.position, worst.camera.fov)  # as it is told to
    expected = painter.comparison(worst, WIDTH, HEIGHT)
    assert any(_similar(picture, expected) for picture in itertools.islice(pictures, 4))
    camera = trained(model)[0].camera
    browser.look(camera.wxyz, camera.position, camera.fov)
    alone = painter.picture(camera, WIDTH, HEIGHT, Look(sh_degree=3))
    assert any(_similar(picture, alone) for picture in itertools.islice(pictures, 4))
    browser.set("Go to photo", "choose one")


def test_further_metrics_are_described_by_the_run_itself(
    finished_run: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(finished_run, tmp_path / "run")
    results = json.loads((folder / "results.json").read_text())
    results["protocol"]["metrics"]["mae"] = {
        "label": "Mean error", "higher_is_better": False, "computed": "mean",
        "unit": "levels", "format": ".2f", "sees": "quantised", "package": "elsewhere 1.0",
    }  # fmt: skip
    (folder / "results.json").write_text(json.dumps(results))
    worst = ranked(open_model(folder).shots)[0]
    assert worst.metrics["mae"].label == "Mean error"


@needs_viser
def test_a_port_that_is_taken(finished_run: Path, tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        line = refusal(run("gs-view", finished_run, "--port", port, cwd=tmp_path))
    assert f"--port {port}: cannot listen there" in line


@needs_viser
def test_something_else_than_a_run(tmp_path: Path) -> None:
    line = refusal(run("gs-view", "elsewhere", "--port", 0, cwd=tmp_path))
    assert "elsewhere: there is no such folder or file" in line


def test_without_viser_the_command_to_install_it_is_said(tmp_path: Path) -> None:
    # The working folder comes first among those that Python imports from.
    (tmp_path / "viser.py").write_text("raise ModuleNotFoundError('No module named viser')")
    line = refusal(start("gs-view", "run", cwd=tmp_path))
    assert "pip install 'gs-densify[viewer]'" in line and "No module named viser" in line


def _copy_with_scene(run_folder: Path, copy: Path, scene: str) -> Path:
    shutil.copytree(run_folder, copy)
    path = copy / "config.yml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"scene": scene}))
    return copy
