"""What a run writes down about itself: versions, hardware, memory."""

import gc
import os
import platform
import resource
import sys
from importlib import metadata

import torch

from gs_densify import __version__
from gs_densify.rendering.renderer import Renderer
from gs_densify.results import CodeRecord, Conditions, Hardware, PeakMemory
from gs_densify.source import commit, package_digest
from gs_densify.strategies.source import strategy_digest

RUNS_AT_A_TIME = "GS_RUNS_AT_A_TIME"
"""Environment variable in which gs-bench says how many cells it trains on a device at a time."""

_PACKAGES = ("torch", "gsplat", "pycolmap", "torchmetrics", "numpy", "imageio", "pillow")


def code_record(strategy: str) -> CodeRecord:
    """Returns which code a run under `strategy` has, as `--strategy` names it; takes about 30 ms.

    Raises:
        ConfigError: there is no such strategy.
    """
    return CodeRecord(strategy=strategy_digest(strategy), package=package_digest(), commit=commit())


def versions() -> dict[str, str | None]:
    """Versions of what moves a number."""
    found: dict[str, str | None] = {
        "gs_densify": __version__,
        "python": platform.python_version(),
        "cuda": torch.version.cuda,
    }
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def hardware(device: torch.device) -> Hardware:
    """Returns the machine, without its name."""
    is_gpu = device.type == "cuda"
    at_a_time = os.environ.get(RUNS_AT_A_TIME, "1")
    return Hardware(
        device=str(device),
        gpu=torch.cuda.get_device_name(device) if is_gpu else None,
        cpu_count=os.cpu_count() or 1,
        cpu_threads=torch.get_num_threads(),
        platform=f"{platform.system()} {platform.machine()}",
        runs_at_a_time=int(at_a_time) if at_a_time.isdecimal() else 1,
    )


def conditions(
    device: torch.device,
    renderer: Renderer,
    *,
    seed: int | None,
    steps: int | None,
    normalize: str | None,
) -> Conditions:
    """Returns what moves the scores of a model besides the way of scoring."""
    return Conditions(
        seed=seed,
        steps=steps,
        antialiased=renderer.settings.antialiased,
        near_plane=renderer.settings.near_plane,
        rasterizer=renderer.rasterizer.name,
        normalize=normalize,
        gpu=hardware(device).gpu,
        versions=versions(),
    )


def forget_peak_memory(device: torch.device) -> None:
    """Counts the device's peak from now on: of several runs in a process each has its own."""
    gc.collect()  # a trainer and its probe refer to each other
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> PeakMemory:
    """Returns the most that was held, in bytes.

    On the device it is the largest allocation since it was forgotten, on the host the process's
    largest resident set.
    """
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage's unit differs
    return PeakMemory(
        device=torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
        host=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
    )
