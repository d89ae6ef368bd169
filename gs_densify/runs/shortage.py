"""Memory that runs out while a run is prepared or trains, in words, in each of its processes."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

from gs_densify.memory import host_shortage
from gs_densify.rendering.device import memory_shortage
from gs_densify.training.trainer import Trainer

_REMEDIES = {
    "cuda": "use --max-gaussians, a larger --downscale, or a smaller --data.image-budget",
    "cpu": "use --max-gaussians or a larger --downscale",
}


@contextmanager
def saying_shortage(
    device: torch.device, trainer: Trainer | None = None, saved: str = ""
) -> Iterator[None]:
    """Says in words where the memory runs out in which the Gaussians are.

    Args:
        device: on which they are.
        trainer: of which the step and the number of Gaussians are said; None before there is one.
        saved: what is said of files that are there.

    Raises:
        BackendError: it has run out.
    """

    def say() -> str:
        when = "before the first step"
        if trainer is not None:
            count = f"{trainer.num_gaussians:,} Gaussians"
            when = f"after step {trainer.progress.step} with {count}"
        return "; ".join(filter(None, (when, _REMEDIES[device.type], saved)))

    is_on_host = device.type != "cuda"
    with memory_shortage(say), host_shortage(say) if is_on_host else nullcontext():
        yield
