"""What a browser does with viser, without one: the wire format of viser's own client."""

import io
from collections import deque
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import viser
import zstandard
from PIL import Image
from websockets.sync.client import connect
from websockets.typing import Subprotocol

TIMEOUT = 300.0


class Browser:
    """A connected window of width x height pixels."""

    def __init__(self, url: str, *, width: int, height: int) -> None:
        self.size = {"image_width": width, "image_height": height}
        self.controls: dict[str, str] = {}  # label: uuid
        self.options: dict[str, list[str]] = {}  # of a list, by its label
        self.hidden: set[str] = set()  # names of what is in the scene, and not shown
        self.frusta: dict[str, dict[str, Any]] = {}  # name: message
        self._unread: deque[dict[str, Any]] = deque()
        self._socket = connect(
            url.replace("http://", "ws://"),
            subprotocols=[Subprotocol(f"viser-v{viser.__version__}")],
            max_size=None,
            compression=None,
        )

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def look(self, wxyz: Any, position: Any, fov: float) -> None:
        """Say where the camera is."""
        self._send(
            "ViewerCameraMessage",
            wxyz=[float(v) for v in wxyz],
            position=[float(v) for v in position],
            fov=float(fov),
            near=0.01,
            far=1000.0,
            look_at=[0.0, 0.0, 0.0],
            up_direction=[0.0, 0.0, 1.0],
            **self.size,
        )

    def set(self, label: str, value: Any) -> None:
        """Turn a control of the panel."""
        self._send("GuiUpdateMessage", uuid=self.controls[label], updates={"value": value})

    def click(self, name: str) -> None:
        """Click something in the scene."""
        self._send(
            "SceneNodeClickMessage",
            name=name,
            instance_index=None,
            ray_origin=[0.0, 0.0, 0.0],
            ray_direction=[0.0, 0.0, 1.0],
            screen_pos=[0.5, 0.5],
            modifier=None,
            owner=self.frusta[name].get("owner", ""),
        )

    def pictures(self) -> Iterator[np.ndarray]:
        """The pictures that have not been looked at and those that arrive, uint8 [H, W, 3]."""
        for message in self.messages():
            if message["type"] == "BackgroundImageMessage" and message["rgb_data"]:
                with Image.open(io.BytesIO(message["rgb_data"])) as picture:
                    yield np.asarray(picture.convert("RGB"))

    def messages(self) -> Iterator[dict[str, Any]]:
        """Everything that has not been read and what arrives; remembers controls and frusta."""
        while True:
            # Several arrive at once, of which a caller may want a part.
            if not self._unread:
                self._unread.extend(_decode(self._socket.recv(TIMEOUT)))
            message = self._unread.popleft()
            if "container_uuid" in message:
                label = message["props"].get("label")
                self.controls[label] = message["uuid"]
                self.options[label] = message["props"].get("options", [])
            if message["type"] == "SetSceneNodeVisibilityMessage" and not message["visible"]:
                self.hidden.add(message["name"])
            if message["type"] == "CameraFrustumMessage":
                self.frusta[message["name"]] = message
            yield message

    def _send(self, kind: str, **fields: Any) -> None:
        self._socket.send(msgspec.msgpack.encode({"type": kind, **fields}))


def _decode(data: bytes) -> tuple[dict[str, Any], ...]:
    length = int.from_bytes(data[8:16], "little")
    inner = zstandard.ZstdDecompressor().decompress(data[16 : 16 + length])
    return msgspec.msgpack.decode(inner)["messages"]
