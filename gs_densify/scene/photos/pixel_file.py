"""The photos of a scene as raw bytes in one file, for scenes larger than memory.

A photo is made once (decoded, resized, undistorted), and from then on read with one call into
memory that waits for it. The file lies in the cache, named after all that its pixels depend on; it
begins with a record for each view, which has the digest of the view's pixels and mask. Nothing but
these digests is relied upon: a process compares every photo with its own the first time that it
reads it, and one that differs, since a process was killed or a disk failed, is made again.
Processes of one scene share the file: whoever makes a photo writes the same bytes at the same
place.
"""

import errno
import hashlib
import json
import math
import os
import random
import shutil
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import numpy as np

from gs_densify.errors import SceneError
from gs_densify.folder_lock import share
from gs_densify.scene.cache import default_cache
from gs_densify.scene.digest import photo_digest
from gs_densify.scene.photos.decode import Photo
from gs_densify.scene.photos.disk_room import make_room, remove_unless_in_use, used_bytes
from gs_densify.scene.photos.prepare import inputs_of, may_have_mask, read_view
from gs_densify.scene.photos.threads import in_threads
from gs_densify.scene.scene import View

_VERSION = 1
"""Raise it with every change of the format."""

_RECORD = np.dtype([("digest", "u1", 32), ("valid", "<i8"), ("check", "<u4")])
"""Of a view: `photo_digest`, the number of valid pixels (-1: it has no mask), and a checksum of
both. Zeros are no record."""
_PAGE = 4096
"""Photos begin at multiples of it."""
_CANNOT_RESERVE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
"""What file systems say that do not reserve room; there, writing fails where there is none."""


def pixel_bytes(view: View) -> int:
    """Returns the most bytes that a view takes in memory: three a pixel, and one for a mask."""
    return view.width * view.height * (4 if may_have_mask(view) else 3)


def pixel_path(views: Sequence[View]) -> Path:
    """Returns where the pixels of all views of a scene are kept."""
    parts = [_VERSION, [[view.name, *inputs_of(view)] for view in views]]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return default_cache() / "pixels" / f"{digest[:32]}.pixels"


@dataclass(frozen=True)
class DiskUse:
    """What the pixels of a scene take on the disk, in bytes."""

    path: Path
    all: int
    there: int
    """Of these on the disk already."""
    free: int
    """On the disk."""


def disk_use(views: Sequence[View]) -> DiskUse:
    """Returns what the file of all views of a scene takes; it need not be there."""
    path = pixel_path(views)
    folder = next(one for one in path.parents if one.is_dir())
    free = shutil.disk_usage(folder).free
    return DiskUse(path, sum(map(pixel_bytes, views)), used_bytes(path), free)


class PixelFile:
    """An open file of the pixels of all views of a scene; it is in use until it is let go of."""

    def __init__(self, views: Sequence[View]) -> None:
        """Opens or begins the file.

        Raises:
            SceneError: it cannot be written.
        """
        self.views, self.path = tuple(views), pixel_path(views)
        starts = _paged([len(views) * _RECORD.itemsize, *map(pixel_bytes, views)])
        self._starts, self._size = starts[1:-1], starts[-1]
        self._records = np.zeros(len(views), _RECORD)
        self._is_checked = np.zeros(len(views), bool)
        """[V], photos that this process has made, or compared with their digest."""
        self._file = _opened(self.path)
        with self._let_go_on_errors():
            _prepare(self._file, self.path, self._size)
            _read_fully(self._file, self._records.view(np.uint8), 0, self.path)

    def missing(self, rows: Sequence[int]) -> list[int]:
        """Returns which of the views `rows` have not been made."""
        return [row for row in rows if not self._is_made(row)]

    def make(
        self,
        rows: Sequence[int],
        *,
        budget: float = math.inf,
        workers: int | None = None,
        progress: bool = True,
    ) -> None:
        """Makes those of the views `rows` that are missing, after it has reserved room for them.

        Where it fails the file is let go of, and removed unless somebody has made a photo of it.

        Args:
            rows: which views are wanted.
            budget: bytes that the files of all scenes may take together, see `make_room`.
            workers: threads.
            progress: say how far it is.

        Raises:
            SceneError: there is no room, or a photo or mask cannot be used.
        """
        missing = self.missing(rows)
        if not missing:
            return
        with self._let_go_on_errors():
            self._reserve(missing, budget)
            # Processes that begin together begin at different photos, and make each one once.
            first = random.randrange(len(missing))
            order = missing[first:] + missing[:first]
            in_threads(self._make_unless_there, order, "photo", workers=workers, progress=progress)

    def digest(self, row: int) -> bytes:
        """Returns the `photo_digest` of a view that has been made."""
        return bytes(self._records[row]["digest"])

    def num_valid(self, row: int) -> int | None:
        """Returns how many pixels of a view count, of one that has been made; None without mask."""
        valid = int(self._records[row]["valid"])
        return None if valid < 0 else valid

    def length(self, row: int) -> int:
        """Returns the bytes of a view that has been made: its pixels, then its mask if any."""
        view = self.views[row]
        return view.width * view.height * (3 if self.num_valid(row) is None else 4)

    def read(self, row: int) -> Photo:
        """Returns a photo in memory of its own; errors are those of `read_into`."""
        target = np.empty(self.length(row), np.uint8)
        self.read_into(row, target)
        return self._as_photo(row, target)

    def read_into(self, row: int, target: np.ndarray) -> None:
        """Reads a view that has been made into `length(row)` bytes, uint8.

        Raises:
            SceneError: it is damaged and cannot be made again, or the disk fails.
        """
        is_whole = _read_fully(self._file, target, self._starts[row], self.path)
        if is_whole and self._is_checked[row]:
            return
        if photo_digest(self.views[row], self._as_photo(row, target)) != self.digest(row):
            length, photo = len(target), self._made(row)
            if self.length(row) != length:
                raise SceneError(
                    f"{self.path}: is damaged", action="remove it, and start again: it is made anew"
                )
            target[:] = _flat(photo)
        self._is_checked[row] = True

    def _is_made(self, row: int) -> bool:
        record = self._records[row]
        return bool(record["digest"].any()) and int(record["check"]) == _checksum(record)

    def _as_photo(self, row: int, flat: np.ndarray) -> Photo:
        view = self.views[row]
        pixels, mask = np.split(flat, [3 * view.width * view.height])
        shape = (view.height, view.width)
        return Photo(
            pixels.reshape(*shape, 3), mask.view(bool).reshape(shape) if len(mask) else None
        )

    def _make_unless_there(self, row: int) -> None:
        record = self._records[row : row + 1].view(np.uint8)
        _read_fully(self._file, record, row * _RECORD.itemsize, self.path)
        if not self._is_made(row):
            self._made(row)

    def _made(self, row: int) -> Photo:
        """Returns a photo that it makes and writes, its record last."""
        view = self.views[row]
        photo = read_view(view, is_kept=False)
        record = np.zeros((), _RECORD)
        record["digest"] = np.frombuffer(photo_digest(view, photo), np.uint8)
        record["valid"] = -1 if photo.mask is None else photo.mask.sum()
        record["check"] = _checksum(record)
        try:
            _write_fully(self._file, _flat(photo), self._starts[row])
            _write_fully(self._file, record.reshape(1).view(np.uint8), row * _RECORD.itemsize)
        except OSError as error:
            raise _unwritable(self.path, error) from None
        self._records[row] = record
        self._is_checked[row] = True
        return photo

    def _reserve(self, rows: Sequence[int], budget: float) -> None:
        """Makes room for views and, on Linux, takes it: a full disk is known before the work."""
        there = [row for row in range(len(self.views)) if self._is_made(row)]
        wanted = sum(pixel_bytes(self.views[row]) for row in (*there, *rows))
        make_room(self.path, max(0, wanted - used_bytes(self.path)), budget)
        if sys.platform != "linux":
            return
        for row in rows:
            start, length = self._starts[row], pixel_bytes(self.views[row])
            try:
                os.posix_fallocate(self._file.fileno(), start, length)
            except OSError as error:
                if error.errno not in _CANNOT_RESERVE:
                    raise _unwritable(self.path, error) from None

    @contextmanager
    def _let_go_on_errors(self) -> Iterator[None]:
        """Closes the file where the body fails; one without a photo that nobody else has goes."""
        try:
            yield
        except BaseException:
            self._file.close()
            remove_unless_in_use(self.path, self._has_photos)
            raise

    def _has_photos(self, descriptor: int) -> bool:
        return any(os.pread(descriptor, self._records.nbytes, 0))


def _paged(lengths: Sequence[int]) -> list[int]:
    """Returns where parts of these lengths begin, each at a page, and where the last one ends."""
    starts = [0]
    for length in lengths:
        starts.append(starts[-1] + -(-length // _PAGE) * _PAGE)
    return starts


def _checksum(record: np.ndarray) -> int:
    return zlib.crc32(record.tobytes()[: -_RECORD["check"].itemsize])


def _flat(photo: Photo) -> np.ndarray:
    pixels = photo.pixels.reshape(-1)
    if photo.mask is None:
        return pixels
    return np.concatenate([pixels, photo.mask.reshape(-1).view(np.uint8)])


def _opened(path: Path) -> FileIO:
    """Opens the file, which nobody removes as long as it is open."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            file = os.fdopen(descriptor, "r+b", buffering=0)
            share(descriptor)
            if os.fstat(descriptor).st_nlink:  # else it was removed before its lock was shared
                return file
            file.close()
    except OSError as error:
        raise _unwritable(path, error) from None


def _prepare(file: FileIO, path: Path, size: int) -> None:
    """Gives a file its size, and notes that it is used."""
    try:
        if os.fstat(file.fileno()).st_size != size:
            file.truncate(size)
        os.utime(file.fileno())
    except OSError as error:
        raise _unwritable(path, error) from None


def _read_fully(file: FileIO, target: np.ndarray, start: int, path: Path) -> bool:
    """Returns whether the file has all of it; what it lacks stays in `target` as it was."""
    done, whole = 0, target.data
    try:
        if sys.platform == "linux":  # by itself it reads ahead a small part of a photo
            os.posix_fadvise(file.fileno(), start, len(whole), os.POSIX_FADV_WILLNEED)
        while done < len(whole):
            count = os.preadv(file.fileno(), [whole[done:]], start + done)
            if not count:
                return False
            done += count
    except OSError as error:
        raise SceneError(
            f"{path}: cannot be read ({error.strerror})",
            action="remove it, and start again: it is made anew",
        ) from None
    return True


def _write_fully(file: FileIO, source: np.ndarray, start: int) -> None:
    done, whole = 0, source.data
    while done < len(whole):
        done += os.pwrite(file.fileno(), whole[done:], start + done)


def _unwritable(path: Path, error: OSError) -> SceneError:
    return SceneError(
        f"{path}: cannot be written ({error.strerror})",
        expected="expected a folder with space left",
        action="set GS_CACHE to a folder of yours on a larger disk",
    )
