"""A file on a web server, read like a local one through HTTP ranges (RFC 9110, section 14)."""

import base64
import hashlib
import http.client
import io
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gs_densify.errors import DownloadError

TIMEOUT = 30.0
"""Seconds without an answer."""
TRIES = 6
_CHUNK = 2**18
_LONGEST_SKIP = 2**20
"""Bytes up to which reading on is cheaper than asking anew."""
_TRANSIENT_STATUS = {408, 425, 429, 500, 502, 503, 504}
_TRANSIENT = (
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
    ssl.SSLError,
)
"""Errors of the network, after which asking again can help; a full disk is none of them."""


class RemoteFile(io.RawIOBase):
    """A seekable file behind a URL.

    One answer is read on as long as reads follow each other. A connection that is cut is opened
    again at the same byte after a pause that doubles, `TRIES` times without a byte in between.
    """

    def __init__(self, url: str, *, pause: float = 1.0) -> None:
        """Asks for the first byte, to learn the size and whether the server gives ranges.

        Args:
            url: http or https.
            pause: seconds before the second try.

        Raises:
            DownloadError: there is no such file, or no answer after all tries.
        """
        super().__init__()
        self.url = url
        self.validator: str | None = None
        """What changes when the file does: its ETag, or else its date."""
        self.length = -1
        self._pause = pause
        self._response: Any = None
        self._response_at = 0
        self._position = 0
        if not url.lower().startswith(("http://", "https://")):
            raise DownloadError(
                f"{url} is no web address",
                expected="expected http:// or https://",
                action="give such a --url",
            )
        with self._try(lambda: self._ask("bytes=0-0")) as answer:
            self.has_ranges = answer.status == 206
            self.validator = _validator_of(answer)
            self.length = _length_of(answer)
            self._md5 = _md5_of(answer)
        if self.length < 0:
            raise DownloadError(
                f"{url}: the server does not say how long the file is",
                expected="expected Content-Length",
                action="try another --url",
            )

    def readable(self) -> bool:
        """Returns True."""
        return True

    def seekable(self) -> bool:
        """Returns True."""
        return True

    def tell(self) -> int:
        """Returns where the next read starts."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves to a byte; nothing is asked of the server."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.length}[whence]
        if base + offset < 0:
            raise ValueError(f"position {base + offset} is before the file")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Reads up to `len(buffer)` bytes; 0 at the end of the file.

        Raises:
            DownloadError: no byte after all tries, or the file changed in the meantime.
        """
        wanted = min(len(buffer), self.length - self._position)
        if wanted <= 0:
            return 0
        data = self._try(lambda: self._read_here(wanted))
        buffer[: len(data)] = data
        self._position += len(data)
        self._response_at = self._position
        return len(data)

    def close(self) -> None:
        """Drops the connection."""
        self._drop()
        super().close()

    def save_whole(self, path: Path, on_bytes: Callable[[int], object] = lambda _: None) -> None:
        """Writes the whole file, for a server without ranges: each try starts at the first byte.

        Args:
            path: of the file to write.
            on_bytes: told how many bytes came, and how many were given up with a minus sign.

        Raises:
            DownloadError: after all tries, or for other bytes than the server announced.
        """
        self._try(lambda: self._save_once(path, on_bytes))

    def _save_once(self, path: Path, on_bytes: Callable[[int], object]) -> None:
        md5 = hashlib.md5(usedforsecurity=False)
        size = 0
        try:
            with self._ask(None) as answer, path.open("wb") as file:
                while chunk := answer.read(_CHUNK):
                    file.write(chunk)
                    md5.update(chunk)
                    size += len(chunk)
                    on_bytes(len(chunk))
            if size != self.length:
                raise http.client.IncompleteRead(b"", self.length - size)
        except _TRANSIENT:
            on_bytes(-size)
            raise
        if self._md5 is not None and md5.digest() != self._md5:
            raise DownloadError(
                f"{self.url} arrived with another MD5 than the server announces",
                expected="expected an intact copy",
                action="run the command again",
            )

    def _read_here(self, wanted: int) -> bytes:
        """Returns at least one byte from the current position."""
        ahead = self._position - self._response_at
        if self._response is None or not 0 <= ahead <= _LONGEST_SKIP:
            self._drop()
            self._response = self._ask(f"bytes={self._position}-")
            self._response_at = self._position
        elif ahead:
            self._response.read(ahead)
            self._response_at = self._position
        data = self._response.read(wanted)
        if not data:
            raise http.client.IncompleteRead(b"", self.length - self._position)
        return bytes(data)

    def _ask(self, byte_range: str | None) -> Any:
        """Returns an answer about the same file as the first one."""
        headers = {"Range": byte_range} if byte_range else {}
        if byte_range and self.validator and not self.validator.startswith("W/"):
            headers["If-Range"] = self.validator
        request = urllib.request.Request(self.url, headers=headers)
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
        is_first = self.length < 0
        same = (_validator_of(answer), _length_of(answer)) == (self.validator, self.length)
        if not is_first and (not same or (byte_range and answer.status != 206)):
            answer.close()
            raise DownloadError(
                f"{self.url} changed while it was read",
                expected="expected the same file to the end",
                action="run the command again to start afresh",
            )
        return answer

    def _try(self, step: Callable[[], Any]) -> Any:
        for attempt in range(TRIES):
            try:
                return step()
            except urllib.error.HTTPError as error:
                if error.code not in _TRANSIENT_STATUS:
                    raise DownloadError(
                        f"{self.url}: the server answers {error.code} {error.reason}",
                        expected="expected the file",
                        action="check --url, or fetch the archive by hand",
                    ) from None
                reason: Exception = error
            except _TRANSIENT as error:
                reason = error
            self._drop()
            if attempt + 1 < TRIES:
                time.sleep(self._pause * 2**attempt)
        text = " ".join(str(reason).split())
        raise DownloadError(
            f"{self.url} could not be read in {TRIES} tries ({text})",
            expected="expected an answer",
            action="run the command again, which goes on where it stopped",
        )

    def _drop(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None


def _validator_of(answer: Any) -> str | None:
    found = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
    return str(found) if found else None


def _length_of(answer: Any) -> int:
    """Returns bytes of the whole file; -1 where the server does not say."""
    if answer.status == 206:
        text = answer.headers.get("Content-Range", "").rpartition("/")[2]
    else:
        text = answer.headers.get("Content-Length", "")
    return int(text) if text.isdigit() else -1


def _md5_of(answer: Any) -> bytes | None:
    """Returns the MD5 of the file as Google's storage announces it; it does so for most files."""
    hashes = ",".join(answer.headers.get_all("x-goog-hash", []))
    for one in hashes.split(","):
        kind, _, value = one.strip().partition("=")
        if kind == "md5":
            return base64.b64decode(value)
    return None
