"""The server behind the browser windows, with viser (viser-project/viser, MIT)."""

import contextlib
import dataclasses
import io
import queue
import signal
import warnings
from collections.abc import Iterator
from typing import NoReturn, TypeAlias

import numpy as np

from gs_densify.errors import BackendError, ConfigError

try:
    import viser
except ModuleNotFoundError as error:
    raise BackendError(
        f"gs-view needs viser, which cannot be imported here ({error})",
        action="run pip install 'gs-densify[viewer]'",
    ) from None

from gs_densify.viewer.address import Address
from gs_densify.viewer.model import Model
from gs_densify.viewer.paint import Painter
from gs_densify.viewer.panel import Panel
from gs_densify.viewer.session import Session
from gs_densify.viewer.steering import FirstLook, camera_seen

MOVING_QUALITY = 60
RESTING_QUALITY = 92
"""Of JPEG."""
LAST_PICTURE = 10.0
"""Seconds that a picture may take to be finished at the end."""

_Failures: TypeAlias = "queue.SimpleQueue[Exception]"


def serve(model: Model, painter: Painter, address: Address) -> NoReturn:
    """Shows `model` to every browser that connects, until a signal ends the process.

    Raises:
        KeyboardInterrupt: on SIGINT.
        SystemExit: with 143 on SIGTERM.
        ConfigError: where the port was taken in the meantime.
        Exception: whatever drawing raised; what is wrong with a photo, or with a picture that does
            not fit into memory, is said in its window.
    """
    failures: _Failures = queue.SimpleQueue()
    painter.warm_up()
    # A picture that is done when its window has gone is no news.
    warnings.filterwarnings("ignore", "Queued a .* on a closed connection", UserWarning)
    signal.signal(signal.SIGTERM, _terminate)
    with _server(address) as (server, url):
        _prepare(server, model)
        windows = _Windows(model, painter, failures)
        server.on_client_connect(windows.open)
        server.on_client_disconnect(windows.close)
        print(f"{url} shows {model.title}; Ctrl-C ends", flush=True)
        try:
            raise failures.get()
        finally:
            windows.close_all()


def _terminate(number: int, _: object) -> NoReturn:
    raise SystemExit(128 + number)


@contextlib.contextmanager
def _server(address: Address) -> Iterator[tuple[viser.ViserServer, str]]:
    """Yields a running server and its URL; what viser prints about its addresses is left out."""
    with contextlib.redirect_stdout(io.StringIO()):
        server = viser.ViserServer(address.number, address.port, label="gs-view", verbose=False)
    try:
        # viser goes on to the next one that is free.
        found = dataclasses.replace(address, port=server.get_port())
        if found != address and not address.is_any_port:
            raise ConfigError(
                f"{address.port} was taken in the meantime",
                action="choose another, or 0 for any that is free",
                option="port",
            )
        yield server, found.url
    finally:
        with contextlib.redirect_stdout(io.StringIO()):
            server.stop()


def _prepare(server: viser.ViserServer, model: Model) -> None:
    """Sets what all windows have in common."""
    # A public address at a third party is not ours to offer.
    server.gui.configure_theme(show_logo=False, show_share_button=False)
    server.gui.main_panel.dock_right()  # over the picture it would hide a third of it
    server.scene.set_up_direction(model.up)
    server.initial_camera.position = model.start.position
    server.initial_camera.look_at = model.start.look_at
    server.initial_camera.fov = model.start.fov


class _Windows:
    """The sessions of the connected browsers. viser calls async functions one at a time."""

    def __init__(self, model: Model, painter: Painter, failures: _Failures) -> None:
        self._model, self._painter, self._failures = model, painter, failures
        self._sessions: dict[int, Session] = {}

    async def open(self, client: viser.ClientHandle) -> None:
        """Is called when a browser has connected and said where its camera is."""

        def show(image: np.ndarray | None, moving: bool, trouble: str) -> None:
            if image is None:
                panel.not_drawn(trouble)
                return
            quality = MOVING_QUALITY if moving else RESTING_QUALITY
            client.scene.set_background_image(image, format="jpeg", jpeg_quality=quality)
            panel.drawn(image.shape[1], image.shape[0], trouble)

        panel = Panel(client, self._model, self._painter, lambda: session.redraw())
        session = Session(self._painter, panel.look, show, self._failures.put)
        self._sessions[client.client_id] = session

        first = FirstLook(self._model.start)

        @client.camera.on_update
        async def follow(camera: viser.CameraHandle) -> None:
            if camera.image_width > 0 and camera.image_height > 0:  # else it is minimised
                first.fit(camera)
                session.move(camera_seen(camera), camera.image_width, camera.image_height)

        await follow(client.camera)
        session.start()

    async def close(self, client: viser.ClientHandle) -> None:
        """Is called when a browser has gone."""
        session = self._sessions.pop(client.client_id, None)
        if session is not None:
            session.close()

    def close_all(self) -> None:
        """Waits for the pictures that are being drawn."""
        sessions = list(self._sessions.values())
        for session in sessions:
            session.close()
        for session in sessions:
            session.join(LAST_PICTURE)
