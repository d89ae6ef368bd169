"""How long a step takes: real ones are timed, and on a CPU smaller ones where those take long."""

import dataclasses
import math
import time
from collections.abc import Sequence

import numpy as np
import torch

from gs_densify.config.options import LearningRates, TrainConfig
from gs_densify.rendering.device import wait_for
from gs_densify.runs.loaded_scene import LoadedScene
from gs_densify.runs.start import Start
from gs_densify.scene.scene import View
from gs_densify.strategies.adapter import StrategyAdapter
from gs_densify.strategies.base import Strategy
from gs_densify.training.create import build_trainer
from gs_densify.training.trainer import Trainer

_STEPS = {"cuda": (10, 30), "cpu": (1, 2)}
"""Steps to warm up, and to time, on each kind of device."""

_COUNTS = (4_000, 16_000)
"""Gaussians from which the time with more of them is extrapolated on a CPU."""
_PIXELS = 200_000
"""Of the largest photo to which a CPU renders; the time of larger ones grows as they do."""


def is_extrapolated(count: int, views: Sequence[View], device: torch.device) -> bool:
    """Returns whether `StepTimer` times smaller steps than those of `count` Gaussians."""
    return device.type == "cpu" and (count > _COUNTS[-1] or _reduction(views) > 1)


class StepTimer:
    """Times steps under no strategy; equal ones once."""

    def __init__(self) -> None:
        self._timed: dict[tuple[str, int], float] = {}
        """Milliseconds by what a step depends on and the number of Gaussians."""

    def milliseconds(
        self,
        config: TrainConfig,
        loaded: LoadedScene,
        start: Start,
        count: int,
        device: torch.device,
    ) -> float:
        """Returns the time of a step with `count` Gaussians around the first points.

        One process renders all views of the step, also where the run shares them out to several.
        On a CPU it takes seconds to know, and is rough, where `is_extrapolated` says so.
        """

        def timed(num: int) -> float:
            key = _step_key(config), num
            if key not in self._timed:
                self._timed[key] = _milliseconds(config, shown, start, num, device)
            return self._timed[key]

        if not is_extrapolated(count, loaded.scene.train_views, device):
            shown = loaded
            return timed(count)
        factor = _reduction(loaded.scene.train_views)
        shown = _reduced(loaded, factor)
        few, many = _COUNTS
        if count <= few:
            return factor**2 * timed(count)
        slope = max(0.0, timed(many) - timed(few)) / (many - few)
        return factor**2 * (timed(few) + slope * (count - few))


def _step_key(config: TrainConfig) -> str:
    """Returns what the time of a step depends on besides scene and number of Gaussians."""
    lr = LearningRates(weight_decay=config.lr.weight_decay, visible_only=config.lr.visible_only)
    parts = (config.device, config.batch_size, config.modules, config.length)
    scene = (config.scene, config.data_root, config.downscale, config.data)
    return repr((*scene, *parts, config.init, config.render, config.loss, lr))


def _reduction(views: Sequence[View]) -> int:
    """Returns by how much each side of the photos is divided."""
    pixels = max(view.width * view.height for view in views)
    return math.ceil(math.sqrt(pixels / _PIXELS))


def _reduced(loaded: LoadedScene, factor: int) -> LoadedScene:
    """Returns the scene with every `factor`-th pixel of its training photos, each way."""

    def reduced(view: View) -> View:
        width, height = (-(-side // factor) for side in (view.width, view.height))
        K = np.diag([1 / factor, 1 / factor, 1.0]) @ view.K
        return dataclasses.replace(view, K=K, width=width, height=height)

    views = tuple(map(reduced, loaded.scene.views))
    return dataclasses.replace(
        loaded,
        scene=dataclasses.replace(loaded.scene, views=views),
        train_photos=[photo[::factor, ::factor] for photo in loaded.train_photos],
        train_masks=[
            None if mask is None else mask[::factor, ::factor] for mask in loaded.train_masks
        ],
    )


def _milliseconds(
    config: TrainConfig, loaded: LoadedScene, start: Start, count: int, device: torch.device
) -> float:
    trainer = _trainer(config, loaded, start, count, device)
    step = config.length - 1  # at which all SH degrees are in use
    warm_up, timed = _STEPS[device.type]
    for _ in range(warm_up):
        trainer.step(step)
    wait_for(device)
    started = time.perf_counter()
    for _ in range(timed):
        trainer.step(step)
    wait_for(device)
    return 1e3 * (time.perf_counter() - started) / timed


def _trainer(
    config: TrainConfig, loaded: LoadedScene, start: Start, count: int, device: torch.device
) -> Trainer:
    """Returns a trainer of `count` Gaussians around the first points, under no strategy."""
    scene, random = loaded.scene, np.random.default_rng(config.seed)
    rows = np.arange(count) % len(start.points)
    repeats = rows.size - len(start.points)
    jitter = 0.01 * scene.scene_scale * random.standard_normal((max(repeats, 0), 3))
    points = start.points[rows]
    points[count - len(jitter) :] += jitter.astype(np.float32)
    return build_trainer(
        dataclasses.replace(config, strategy="none"),
        StrategyAdapter("none", Strategy()),
        points=points,
        colors=np.zeros((count, 3), np.uint8) if start.colors is None else start.colors[rows],
        views=scene.train_views,
        photos=loaded.train_photos,
        scene_scale=scene.scene_scale,
        near_plane=loaded.near_plane,
        device=device,
        masks=loaded.train_masks,
    )
