"""A web server on localhost that serves one archive, and misbehaves as it is told."""

import base64
import contextlib
import hashlib
import http.server
import io
import re
import threading
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np


def scene_files(name: str, photos: int = 6, size: int = 30_000) -> dict[str, bytes]:
    """Files of a scene, of bytes that no compression shortens."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    files = {
        f"{name}/{folder}/{i:02d}.JPG": rng.bytes(size)
        for folder in ("images", "images_2", "images_4", "images_8")
        for i in range(photos)
    }
    for part in ("cameras", "images", "points3D"):
        files[f"{name}/sparse/0/{part}.bin"] = rng.bytes(2000)
    return {**files, f"{name}/poses_bounds.npy": b"bounds"}


def zipped(files: dict[str, bytes], *, folders: bool = True) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        if folders:
            archive.writestr("garden/", b"")
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


@dataclass
class Behaviour:
    """What the server does; change it between, or during, requests."""

    data: bytes
    path: str = "/360_v2.zip"
    ranges: bool = True
    etag: str | None = '"one"'
    announce_md5: bool = False
    cut_after: list[int] = field(default_factory=list)
    """Bytes after which the next answers are cut, one each."""
    statuses: list[int] = field(default_factory=list)
    """Given instead of an answer to the next requests."""
    swap_after: int | None = None
    """Requests after which the file becomes another one."""
    asked: list[str] = field(default_factory=list)
    """Range headers, or `all`."""
    sent: int = 0


class _Handler(http.server.BaseHTTPRequestHandler):
    behaviour: Behaviour

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        it = self.behaviour
        asked = self.headers.get("Range")
        it.asked.append(asked or "all")
        if it.swap_after is not None and len(it.asked) > it.swap_after:
            it.etag, it.data = '"two"', it.data[::-1]
            it.swap_after = None
        if self.path != it.path:
            return self.send_error(404)
        if it.statuses:
            return self.send_error(it.statuses.pop(0))
        start, stop, status = 0, len(it.data), 200
        condition = self.headers.get("If-Range")
        if asked and it.ranges and condition in (None, it.etag):
            first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", asked).groups()  # type: ignore
            start, status = int(first), 206
            stop = int(last) + 1 if last else stop
        self._answer(it, status, start, stop)

    def _answer(self, it: Behaviour, status: int, start: int, stop: int) -> None:
        is_probe = stop - start <= 1
        # Before the client hears anything: its next request, on another thread, has the next cut.
        cut = it.cut_after.pop(0) if it.cut_after and not is_probe else stop - start
        self.send_response(status)
        self.send_header("Content-Length", str(stop - start))
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(it.data)}")
        if it.etag:
            self.send_header("ETag", it.etag)
        if it.announce_md5:
            digest = base64.b64encode(hashlib.md5(it.data).digest()).decode()
            self.send_header("x-goog-hash", f"crc32c=AAAAAA==,md5={digest}")
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # clients stop reading where they like
            for at in range(start, min(stop, start + cut), 8192):
                self.wfile.write(it.data[at : min(at + 8192, stop, start + cut)])
                it.sent += min(at + 8192, stop, start + cut) - at
        self.close_connection = True


@contextlib.contextmanager
def serve(behaviour: Behaviour) -> Iterator[str]:
    """The address of the folder that holds the archive."""
    handler = type("Handler", (_Handler,), {"behaviour": behaviour})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
