"""Memory that runs out while a run is prepared or trains, in words, in each of its processes."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from gs_densify.memory.host import limited_to_free
from gs_densify.memory.shortage import shortage_in_words
from gs_densify.training.trainer import Trainer

_REMEDIES = {
    "cuda": "use --max-gaussians, a larger --downscale, or a smaller --data.image-budget",
    "cpu": "use --max-gaussians or a larger --downscale",
}
_BEFORE = "before the first step"


@contextmanager
def saying_shortage(
    device: torch.device, trainer: Trainer | None = None, saved: str = ""
) -> Iterator[None]:
    """Says in words where memory runs out; on a CPU before the system ends the process.

    Args:
        device: where the Gaussians are.
        trainer: of which the step and the number of Gaussians are said; None before there is one.
        saved: what is said of files that are there.

    Raises:
        BackendError: it has run out.
    """

    def when() -> str:
        if trainer is None:
            return _BEFORE
        return f"after step {trainer.progress.step} with {trainer.num_gaussians:,} Gaussians"

    remedies = {name: "; ".join(filter(None, (one, saved))) for name, one in _REMEDIES.items()}
    limit = limited_to_free() if device.type == "cpu" else nullcontext()
    with shortage_in_words(when, remedies), limit:
        yield


def saying_taken_memory() -> AbstractContextManager[None]:
    """Says in words that memory does not hold a checkpoint which it has held before."""
    what = {"cuda": "the GPU of what else runs there", "cpu": "memory of what else runs here"}
    remedies = {name: f"free {one}, and resume again" for name, one in what.items()}
    return shortage_in_words(lambda: _BEFORE, remedies)
