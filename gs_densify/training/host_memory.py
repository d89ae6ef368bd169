"""Photos that do not fit on the GPU: in page-locked host memory, copied ahead of their use."""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from gs_densify.errors import BackendError
from gs_densify.memory import page_locked


class HostMemory:
    """uint8 tensors in host memory that a stream of their own copies to the GPU.

    They lie in one block of exactly their size: torch's own page-locked allocations are rounded up
    to powers of two.
    """

    def __init__(
        self, photos: Iterable[Tensor], shapes: Sequence[tuple[int, ...]], device: torch.device
    ) -> None:
        self._device = device
        lengths = [math.prod(shape) for shape in shapes]
        block = torch.empty(sum(lengths), dtype=torch.uint8)
        pieces = block.split(lengths)
        self._photos = [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]
        for target, photo in zip(self._photos, photos, strict=True):
            target.copy_(photo)
        lock_pages(block, owner=self)
        self._stream = torch.cuda.Stream(device)
        self._ahead: tuple[list[int], list[Tensor], torch.cuda.Event] | None = None

    def prefetch(self, indices: list[int]) -> None:
        """Begins to copy the tensors `indices`."""
        with torch.cuda.stream(self._stream):
            copies = self._copies(indices)
        self._ahead = list(indices), copies, self._stream.record_event()

    def fetch(self, indices: list[int]) -> list[Tensor]:
        """Returns the tensors `indices` on the GPU, whose current stream waits for those on their
        way.
        """
        if self._ahead is None or self._ahead[0] != indices:
            return self._copies(indices)
        _, copies, done = self._ahead
        self._ahead = None
        current = torch.cuda.current_stream(self._device)
        current.wait_event(done)
        for copy in copies:
            copy.record_stream(current)  # they were allocated on the other stream
        return copies

    def _copies(self, indices: list[int]) -> list[Tensor]:
        return [self._photos[i].to(self._device, non_blocking=True) for i in indices]


def lock_pages(block: Tensor, *, owner: object) -> None:
    """Page-locks host memory as long as `owner` lives, which makes copies from it asynchronous."""
    try:
        page_locked.lock_pages(block, owner=owner)
    except torch.cuda.CudaError as error:
        raise BackendError(
            f"{block.numel() / 2**30:.1f} GiB of photos cannot be page-locked in host memory"
            f" ({' '.join(str(error).split())})",
            action="free host memory, use a larger --downscale, or let the GPU hold them"
            " (--data.image-budget) or the disk (--data.host-budget 0)",
        ) from None
