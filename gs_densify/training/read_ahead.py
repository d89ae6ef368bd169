"""Photos that do not fit into host memory: threads read them from the disk ahead of their use."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue

import torch
from torch import Tensor

from gs_densify.scene.photos.kept import KeptPhotos
from gs_densify.training.host_memory import lock_pages

READERS = 8
"""Threads, each with a page-locked photo of its own; as many reads at once keep a disk busy."""
_AHEAD = 12
"""Photos on their way or waiting to be used, or twice those of a call where that is more."""
_UNFINISHED = 4
"""Calls by which the host may be before a GPU when more photos are put there."""


class ReadAhead:
    """Photos [H,W,3] uint8 in a file, which threads bring to the device; a fourth channel of 255 or
    0 says which pixels count, where there are masks.

    Host memory holds a photo for each thread; on the CPU, where they are used, those ahead, too.
    """

    def __init__(self, photos: KeptPhotos, device: torch.device, *, channels: int) -> None:
        self._photos, self._device, self._channels = photos, device, channels
        self._coming: dict[int, Future[Tensor]] = {}
        self._seconds = 0.0
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="photos")
        self._stream = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)
            self._stages: SimpleQueue[Tensor] = SimpleQueue()
            longest = max(map(photos.length, range(len(photos))))
            block = torch.empty(READERS * longest, dtype=torch.uint8)
            lock_pages(block, owner=self)
            for stage in block.split(longest):
                self._stages.put(stage)
            self._marks: deque[torch.cuda.Event] = deque(maxlen=_UNFINISHED)
            self._waits: deque[tuple[torch.cuda.Event, torch.cuda.Event]] = deque()

    @property
    def num_ahead(self) -> int:
        """Returns how many photos `prefetch` wants to know."""
        return _AHEAD

    def prefetch(self, indices: Sequence[int], later: Sequence[int]) -> None:
        """Begins to read the photos of the next call, and as many of those after it as may wait;
        others that were expected before are given up.
        """
        most = max(_AHEAD, 2 * len(indices))
        wanted = [*dict.fromkeys((*indices, *later))][:most]
        for index in self._coming.keys() - wanted:
            self._coming.pop(index).cancel()
        for index in wanted:
            if index not in self._coming:
                self._coming[index] = self._begun(index)

    def fetch(self, indices: Sequence[int]) -> list[Tensor]:
        """Returns photos on the device, and waits for those on their way.

        Raises:
            SceneError: one can be neither read nor made again.
        """
        with self._measured():
            coming = {
                index: self._coming.pop(index) if index in self._coming else self._begun(index)
                for index in dict.fromkeys(indices)
            }
            found = {index: photo.result() for index, photo in coming.items()}
        if self._stream is not None:
            for photo in found.values():
                # They were allocated on the other stream.
                photo.record_stream(torch.cuda.current_stream(self._device))
        return [found[index] for index in indices]

    def everything(self) -> Iterator[Tensor]:
        """Yields all photos on the device, in order."""
        rows = range(len(self._photos))
        for row in rows:
            self.prefetch([row], rows[row + 1 : row + 1 + _AHEAD])
            yield from self.fetch([row])

    def waited(self) -> float:
        """Returns the seconds since it was last asked in which work waited for photos.

        On a GPU these are its own: that the host waits costs nothing while the GPU has work. It
        must have been waited for.
        """
        self._sum_up()
        seconds, self._seconds = self._seconds, 0.0
        return seconds

    def _begun(self, index: int) -> Future[Tensor]:
        mark = None
        if self._stream is not None and len(self._marks) == _UNFINISHED:
            mark = self._marks[0]
        return self._pool.submit(self._read, index, mark)

    def _read(self, index: int, mark: torch.cuda.Event | None) -> Tensor:
        """Returns a photo on the device; on a GPU, once the work before `mark` is done."""
        length = self._photos.length(index)
        if self._stream is None:
            flat = torch.empty(length, dtype=torch.uint8)
            self._photos.read_into(index, flat.numpy())
            return self._as_image(index, flat)
        if mark is not None:
            mark.synchronize()
        stage = self._stages.get()
        try:
            self._photos.read_into(index, stage[:length].numpy())
            # A thread begins with GPU 0, where leaving the stream would make a context.
            with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
                image = self._as_image(index, stage[:length].to(self._device, non_blocking=True))
                copied = torch.cuda.Event(blocking=True)
                copied.record()
            copied.synchronize()
        finally:
            self._stages.put(stage)
        return image

    def _as_image(self, index: int, flat: Tensor) -> Tensor:
        width, height = self._photos.size(index)
        pixels, mask = flat.tensor_split([3 * width * height])
        image = pixels.view(height, width, 3)
        if self._channels == 3:
            return image
        alpha = torch.full_like(image[..., :1], 255)
        if len(mask):
            alpha *= mask.view(height, width, 1)
        return torch.cat([image, alpha], dim=-1)

    @contextmanager
    def _measured(self) -> Iterator[None]:
        """Notes how long the body keeps the device from working."""
        if self._stream is None:
            started = time.perf_counter()
            yield
            self._seconds += time.perf_counter() - started
            return
        before, after = (torch.cuda.Event(enable_timing=True, blocking=True) for _ in range(2))
        before.record(torch.cuda.current_stream(self._device))
        yield
        after.record(torch.cuda.current_stream(self._device))
        self._marks.append(before)
        self._waits.append((before, after))
        self._sum_up()

    def _sum_up(self) -> None:
        while self._stream is not None and self._waits and self._waits[0][1].query():
            before, after = self._waits.popleft()
            self._seconds += 1e-3 * before.elapsed_time(after)
