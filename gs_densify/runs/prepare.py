"""What each process of a run has before it makes its trainer, be the run new or begun before."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from gs_densify.config.length import check_length
from gs_densify.config.options import TrainConfig
from gs_densify.config.parallel import sharers
from gs_densify.config.renderer import rasterizer_of
from gs_densify.config.strategy import strategy_for
from gs_densify.distributed.group import Group
from gs_densify.rendering.device import suit_threads
from gs_densify.results import CodeRecord
from gs_densify.runs import environment as record
from gs_densify.runs.device import device_for
from gs_densify.runs.loaded_scene import NOTHING_FOUND, Found, LoadedScene, load
from gs_densify.runs.memory_limit import check_memory_limit
from gs_densify.runs.run_state import RunState
from gs_densify.runs.score import check_lpips
from gs_densify.runs.settled import Settled, settled
from gs_densify.runs.start import Start, start_of
from gs_densify.runs.stopwatch import Stopwatch
from gs_densify.runs.warm_up import warming_up
from gs_densify.training.resolution import possible_reductions


@dataclass(frozen=True)
class Prepared:
    """All that a trainer is made of."""

    settled: Settled
    config: TrainConfig
    """What is trained, as the command names its strategy."""
    device: torch.device
    loaded: LoadedScene
    start: Start
    code: CodeRecord

    @property
    def found(self) -> Found:
        """Returns what the run keeps of what it has found."""
        steps = self.config.length if self.settled.asked.steps == "auto" else None
        return dataclasses.replace(self.loaded.found, steps=steps)


def checked(config: TrainConfig, group: Group) -> torch.device:
    """Returns the device, once it is known that this and the strategy are there and fit."""
    device = device_for(config, sharers(config, group))
    record.forget_peak_memory(device)
    check_memory_limit(config, device)
    check_length(config)
    strategy_for(config)  # refuses what it can before the scene is read
    return device


def prepared(
    config: TrainConfig,
    device: torch.device,
    clock: Stopwatch,
    group: Group,
    kept: RunState | None = None,
) -> Prepared:
    """Returns what a run trains with, once its scene is loaded; `device` is `checked`.

    What a run that goes on has found before, which is in `kept`, stays.

    Raises:
        ConfigError: an option does not go with the scene.
    """
    loaded, code, start = _load(config, device, clock, group, kept)
    has_masks = any(mask is not None for mask in loaded.train_masks)
    found = settled(config, loaded.scene, start, has_masks=has_masks, kept=kept)
    trained = found.config
    if kept is not None:
        # What is written names the strategy as the command did; its file may be gone.
        trained = dataclasses.replace(trained, strategy=kept.config["strategy"]["name"])
    return Prepared(found, trained, device, loaded, start, code)


def _load(
    config: TrainConfig,
    device: torch.device,
    clock: Stopwatch,
    group: Group,
    kept: RunState | None,
) -> tuple[LoadedScene, CodeRecord, Start]:
    """Returns the scene, which code the run begins with, and what it starts from."""
    clock.lap("device")
    rasterizer = rasterizer_of(config.render, device, is_staged=sharers(config, group).size > 1)
    with ThreadPoolExecutor(2) as pool, warming_up(device, rasterizer, config.evaluation.lpips):
        code = pool.submit(record.code_record, config.strategy)
        lpips = pool.submit(check_lpips, config)
        loaded = load(config, found=NOTHING_FOUND if kept is None else kept.found)
        clock.lap("load")
    clock.lap("device")
    lpips.result()
    suit_threads(device, loaded.scene.views, None if kept is None else kept.cpu_threads)
    if config.render.coarse_until:
        possible_reductions([(view.width, view.height) for view in loaded.scene.train_views])
    return loaded, code.result(), start_of(config, loaded.scene)
