"""What a run does to keep to its --memory-limit: SH coefficients in host memory, fewer Gaussians.

How much memory a run takes is a forecast, so that torch's allocator is held to the limit, too.
"""

import dataclasses
from typing import Any

import torch

from gs_densify.config.options import TrainConfig
from gs_densify.errors import ConfigError
from gs_densify.rendering.rasterizers import has_stages
from gs_densify.results import MemoryPlan
from gs_densify.runs.forecast_memory import memory_of, num_gaussians
from gs_densify.runs.start import Start
from gs_densify.scene.scene import Scene

_MARGIN = 1.05
"""By how much more is kept free than the forecast says."""
_PIXEL_BYTES = 1150
"""For each pixel of a step's views, besides what grows with Gaussians: a million of them took 1.9
GB more than the forecast where photos had 1.7 megapixels (docs/performance.md)."""
_SCORING_BYTES = 2500
"""For each pixel of a view while it is scored: two images in the first layers of LPIPS's VGG."""
_FIXED_BYTES = 100_000_000
"""Whatever the model: cuBLAS's workspace (34 MB on an H100), and what lies unused in the segments
of 20 MiB in which torch's allocator takes memory for smaller tensors."""
_HOST_BYTES = 900
"""Of a Gaussian in host memory: 45 floats in three blocks and a spare one, a quarter larger."""
_LEAST = 1000
"""Gaussians below which there is no model to speak of."""


def check_memory_limit(config: TrainConfig, device: torch.device) -> None:
    """Refuses a limit of GPU memory where the run takes none (ConfigError)."""
    if config.memory_limit is not None and device.type != "cuda":
        raise ConfigError("has no effect on the CPU", action="leave it out", option="memory-limit")


def offload_remark(config: TrainConfig, device: torch.device) -> str | None:
    """Returns what --render.offload does on a CPU, in one line; None where it is not asked for."""
    if device.type == "cuda" or not config.render.offload:
        return None
    return (
        "--render.offload saves no memory on the CPU; SH coefficients of Gaussians that a step's"
        " views do not show stay as they are, as with --lr.visible-only"
    )


def plan_of(
    config: TrainConfig, strategy: Any, scene: Scene, start: Start, *, has_masks: bool
) -> MemoryPlan | None:
    """Returns how the run keeps to its limit; None without one.

    It is the first of these with which all Gaussians fit that are expected: the configuration as it
    is, then `render.offload`, then fewer Gaussians with it. Where nothing says how many there will
    be, as many are allowed as fit in the configuration as it is.

    Raises:
        ConfigError: not even a thousand Gaussians fit.
    """
    limit = config.memory_bytes
    if limit is None:
        return None
    wanted = num_gaussians(config, strategy, start)[1]
    for offload in (config.render.offload, True):
        if offload and not _can_offload(config):
            break
        config = _with_offload(config, offload)
        if wanted is None or _bytes(config, scene, wanted, has_masks) <= limit:
            break
    fits = _most(config, scene, limit, has_masks)
    if fits < _LEAST:
        needed = _bytes(config, scene, _LEAST, has_masks)
        raise ConfigError(
            f"is {config.memory_limit}",
            expected=f"{_LEAST:,} Gaussians with these photos need {needed / 1e9:.2g} GB",
            action="give more, use a larger --downscale, or keep photos in host memory"
            " (--data.image-budget 0)",
            option="memory-limit",
        )
    is_cap = wanted is None or wanted > fits
    count = fits if wanted is None else min(wanted, fits)
    return MemoryPlan(
        limit=limit,
        expected=_bytes(config, scene, count, has_masks),
        gaussians=count,
        offload=config.render.offload,
        max_gaussians=fits if is_cap else None,
    )


def within(config: TrainConfig, plan: MemoryPlan | None) -> TrainConfig:
    """Returns the configuration that a plan leaves of one."""
    if plan is None:
        return config
    config, most = _with_offload(config, plan.offload), plan.max_gaussians
    if most is None:
        return config
    budget = None if config.budget is None else min(config.budget, most)
    return dataclasses.replace(config, max_gaussians=most, budget=budget)


def plan_remark(config: TrainConfig, plan: MemoryPlan | None) -> str | None:
    """Returns what a plan changes in a configuration, in one line; None without one."""
    if plan is None:
        return None
    changed = []
    if plan.offload and not config.render.offload:
        host = _HOST_BYTES * plan.gaussians / 1e9
        changed.append(f"SH coefficients take {host:.2f} GB of host memory (render.offload)")
    if plan.max_gaussians is not None:
        changed.append(f"there are at most {plan.max_gaussians:,} Gaussians (max-gaussians)")
    means = " and ".join(changed) or "nothing has to be changed"
    return (
        f"--memory-limit {config.memory_limit}: {means}; {plan.gaussians:,} are expected to take"
        f" {plan.expected / 1e9:.2f} GB"
    )


def _can_offload(config: TrainConfig) -> bool:
    """Returns whether `render.offload` goes with the other options."""
    options = config.render
    is_free = has_stages(options.rasterizer) and not options.deterministic
    return is_free and not options.packed and config.init.sh_degree > 0


def _with_offload(config: TrainConfig, offload: bool) -> TrainConfig:
    return dataclasses.replace(config, render=dataclasses.replace(config.render, offload=offload))


def _bytes(config: TrainConfig, scene: Scene, count: int, has_masks: bool) -> int:
    """Returns the bytes to be kept free for a run with `count` Gaussians."""
    memory = memory_of(config, scene, count, has_masks=has_masks)
    pixels = max(view.width * view.height for view in scene.views)
    training = memory.working + _PIXEL_BYTES * pixels * config.batch_size
    scoring = _SCORING_BYTES * pixels if scene.test_views and config.evaluation.lpips else 0
    kept = memory.photos + memory.model + max(training, scoring)
    return round(_MARGIN * (kept + _FIXED_BYTES))


def _most(config: TrainConfig, scene: Scene, limit: int, has_masks: bool) -> int:
    """Returns the most Gaussians that fit."""
    most = 0
    for step in [2**power for power in range(34, -1, -1)]:
        if _bytes(config, scene, most + step, has_masks) <= limit:
            most += step
    return most
