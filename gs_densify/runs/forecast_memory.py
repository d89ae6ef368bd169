"""How many Gaussians a run will have, and the GPU memory that they take."""

from typing import Any

from gs_densify.capture.memory import GpuMemory, gpu_memory
from gs_densify.config.options import TrainConfig
from gs_densify.config.strategy import BUDGET_OPTIONS, most_gaussians
from gs_densify.runs.start import Start
from gs_densify.scene.scene import Scene


def num_gaussians(config: TrainConfig, strategy: Any, start: Start) -> tuple[int, int | None]:
    """Returns the number of Gaussians at the start, and the most that there will be; None where
    neither the strategy nor the configuration sets a limit.
    """
    first, last = len(start.points), _limit(config, strategy)
    return (first, None) if last is None else (min(first, last), last)


def memory_of(config: TrainConfig, scene: Scene, count: int, *, has_masks: bool) -> GpuMemory:
    """Returns the memory that training takes with `count` Gaussians; it needs no pixels.

    Of several GPUs that share them it is what each takes with its own.
    """
    if config.parallel == "gaussians":
        count = -(-count // config.gpus)
    return gpu_memory(
        [(view.width, view.height) for view in scene.train_views],
        count,
        config.data.image_budget * 2**30,
        has_masks=has_masks,
        is_offloaded=config.render.offload,
    )


def _limit(config: TrainConfig, strategy: Any) -> int | None:
    limits = [
        most_gaussians(config, strategy),
        *(getattr(strategy, name, 0) for name in BUDGET_OPTIONS),
    ]
    return min((limit for limit in limits if limit), default=None)
