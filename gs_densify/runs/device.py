"""The device of a run, once everything is known to be there that a configuration asks of it."""

import torch

from gs_densify import messages
from gs_densify.config.options import TrainConfig
from gs_densify.config.renderer import rasterizer_of
from gs_densify.distributed.group import ALONE, Group
from gs_densify.evaluation.metrics import check_further
from gs_densify.rendering.device import pick_device
from gs_densify.runs.tested import untested
from gs_densify.strategies.registry import require_device


def device_for(config: TrainConfig, group: Group = ALONE) -> torch.device:
    """Returns the device to train on; an error now, rather than after loading the scene.

    Of several processes that share the Gaussians in `group` each has its own.

    A torch that was not tested is said, and used.

    Raises:
        BackendError: the device is missing, or the strategy or rasteriser does not run on it.
        ConfigError: a metric or rasteriser that there is not.
    """
    if said := untested("torch", torch.__version__):
        messages.remark(said)
    device = pick_device(config.device)
    check_further(config.evaluation.metrics)
    require_device(config.strategy, device.type)
    rasterizer_of(config.render, device, is_staged=group.size > 1)
    return device
