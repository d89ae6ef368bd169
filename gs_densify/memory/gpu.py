"""A limit of a GPU's memory."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gs_densify.errors import BackendError


@contextmanager
def limited_to(limit: int | None, device: torch.device) -> Iterator[None]:
    """Lets torch's allocator have `limit` bytes of a GPU inside the block; None: all of it.

    Raises:
        BackendError: the GPU has less.
    """
    if limit is None or device.type != "cuda":
        yield
        return
    total = torch.cuda.get_device_properties(device).total_memory
    if limit > total:
        raise BackendError(
            f"is {limit / 1e9:.3g} GB, and this GPU has {total / 1e9:.3g} GB",
            action="leave it out, or give less",
            option="memory-limit",
        )
    torch.cuda.set_per_process_memory_fraction(limit / total, device.index)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device.index)
