"""What a run will take, before it: photos, Gaussians, memory, and time from a few real steps."""

import dataclasses
from typing import Any

import torch

from gs_densify.capture.memory import GpuMemory
from gs_densify.config.length import check_length
from gs_densify.config.options import TrainConfig
from gs_densify.config.strategy import strategy_for
from gs_densify.distributed.start import check_gpus
from gs_densify.messages import duration
from gs_densify.rendering.device import suit_threads
from gs_densify.runs.device import device_for
from gs_densify.runs.forecast_memory import memory_of, num_gaussians
from gs_densify.runs.loaded_scene import LoadedScene, load_for_forecast
from gs_densify.runs.outputs.all import check_outputs
from gs_densify.runs.settled import settled
from gs_densify.runs.start import Start, check_start, start_of
from gs_densify.runs.step_time import StepTimer, is_extrapolated
from gs_densify.scene.photos.pixel_file import DiskUse, disk_use
from gs_densify.scene.scene import Scene


@dataclasses.dataclass(frozen=True)
class Forecast:
    """Numbers of a run that has not been made."""

    loaded: LoadedScene
    config: TrainConfig
    first: int
    """Gaussians at the start."""
    last: int | None
    """The most Gaussians; None where neither the strategy nor --max-gaussians sets a limit."""
    memory: GpuMemory
    """On the GPU with `last` Gaussians, or else with `first`."""
    milliseconds: tuple[float, float | None]
    """A step with `first` and with `last` Gaussians, without the strategy's own work; in one
    process that renders all of its views."""
    seconds: float | None
    """Of training; None without a limit."""
    device: str
    remarks: tuple[str, ...] = ()
    """What `--steps auto` is, what becomes of the strategy's schedule, where nobody asked for a
    factor and it matters, and how --memory-limit is kept."""
    is_rough: bool = False
    """Whether the times were extrapolated from smaller steps."""
    disk: DiskUse | None = None
    """What photos take on the disk, where they do not fit into host memory."""

    @property
    def scene(self) -> Scene:
        """Returns the scene with all of its views."""
        return self.loaded.sampled_from or self.loaded.scene


def forecast(config: TrainConfig) -> Forecast:
    """Loads the scene, and times some steps at the first and the last number of Gaussians."""
    return Forecaster().forecast(config)


class Forecaster:
    """Forecasts many runs: the last scene stays loaded, and equal steps are timed once."""

    def __init__(self) -> None:
        self._scene: tuple[str, LoadedScene, Start] | None = None
        self._timer = StepTimer()

    def forecast(self, config: TrainConfig) -> Forecast:
        """Returns the forecast of a run; runs of one scene are best asked for one after another."""
        check_start(config)
        check_gpus(config.gpus, config.device)
        device = device_for(config)
        check_outputs(config)
        check_length(config)
        strategy_for(config)  # refuses what it can before the scene is read
        loaded, start = self._loaded(config)
        whole = loaded.sampled_from or loaded.scene
        has_masks = any(mask is not None for mask in loaded.train_masks)
        found = settled(config, whole, start, has_masks=has_masks)
        config, strategy = found.config, found.strategy
        suit_threads(device, loaded.scene.views)
        first, last = num_gaussians(config, strategy, start)

        def milliseconds(count: int) -> float:
            return self._timer.milliseconds(config, loaded, start, count, device)

        at_first = milliseconds(first)
        at_last = None if last is None else milliseconds(last)
        return Forecast(
            loaded,
            config,
            first,
            last,
            memory_of(config, whole, last or first, has_masks=has_masks),
            (at_first, at_last),
            None if at_last is None else _seconds(config, strategy, at_first, at_last),
            torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU",
            tuple(filter(None, found.remarks(len(whole.train_views)))),
            is_rough=is_extrapolated(last or first, loaded.scene.train_views, device),
            disk=None if loaded.sampled_from is None else disk_use(loaded.sampled_from.views),
        )

    def _loaded(self, config: TrainConfig) -> tuple[LoadedScene, Start]:
        key = scene_key(config)
        if self._scene is None or self._scene[0] != key:
            self._scene = None  # before the next: the host never holds two
            loaded = load_for_forecast(config)
            self._scene = key, loaded, start_of(config, loaded.scene)
        return self._scene[1:]


def scene_key(config: TrainConfig) -> str:
    """Returns what of a configuration the loaded scene and the start depend on."""
    init = (config.init.source, config.init.num_points)
    data = (config.scene, config.data_root, config.downscale, config.data, *init)
    return repr((*data, config.render.near_plane))


def _seconds(config: TrainConfig, strategy: Any, at_first: float, at_last: float) -> float:
    """Returns the seconds; growth ends with refinement, or half-way where nothing is said."""
    growth = min(config.length, getattr(strategy, "refine_stop_iter", config.length // 2))
    return 1e-3 * (growth * (at_first + at_last) / 2 + (config.length - growth) * at_last)


def forecast_text(found: Forecast) -> str:
    """Returns the lines that --dry-run prints."""
    scene, memory = found.scene, found.memory
    sizes = ", ".join(f"{width}x{height}" for width, height in scene.image_sizes)
    where = "in host memory" if memory.photos_on_host else f"{memory.photos / 1e9:.2f} GB"
    if memory.photos_on_host and found.disk is not None:
        where = "read from the disk"
    at_first, at_last = found.milliseconds
    lines = [
        f"photos      {len(scene.train_views)} to train on ({sizes}; {where}),"
        f" {len(scene.test_views)} held out",
        f"Gaussians   {found.first:,} at the start,"
        + (f" at most {found.last:,}" if found.last else " no limit: set one with --max-gaussians"),
        f"memory      about {memory.total / 1e9:.2f} GB on a GPU with {memory.gaussians:,}"
        f" Gaussians: photos {memory.photos / 1e9:.2f}, model {memory.model / 1e9:.2f},"
        f" rendering {memory.working / 1e9:.2f}",
        f"a step      {_step_time(at_first)} with {found.first:,} Gaussians"
        + (f", {_step_time(at_last)} with {found.last:,}" if at_last is not None else "")
        + f", on {found.device}, without the strategy's own work"
        + (", roughly, by smaller steps" if found.is_rough else "")
        + (", timed in one process with all views of a step" if found.config.gpus > 1 else ""),
    ]
    if found.disk is not None:
        lines.insert(1, f"disk        {_disk_text(found.disk, found)}")
    if found.seconds is not None:
        lines.append(
            f"training    about {duration(found.seconds)} for {found.config.length:,} steps"
        )
    lines += [f"{_subject(remark):12}{remark}" for remark in found.remarks]
    return "\n".join(lines)


def _subject(remark: str) -> str:
    return "limit" if remark.startswith("--memory-limit") else "schedule"


def _disk_text(disk: DiskUse, found: Forecast) -> str:
    text = (
        f"{disk.all / 1e9:.3g} GB of photos go through {disk.path.parent}, where"
        f" {disk.there / 1e9:.3g} GB of them are and {disk.free / 1e9:.3g} GB free"
    )
    budget = found.config.data.disk_budget * 2**30
    if disk.all > budget:
        return f"{text}; --data.disk-budget allows {budget / 1e9:.3g} GB: the run would be refused"
    if disk.all - disk.there > disk.free:
        return f"{text}: what was used least recently must make room"
    if not found.memory.photos_on_host:
        return text
    a_step = found.config.batch_size * disk.all / len(found.scene.views)
    rate = a_step / (1e6 * min(one for one in found.milliseconds if one is not None))
    return f"{text}; no step waits where {rate:.2g} GB/s can be read"


def _step_time(milliseconds: float) -> str:
    return f"{milliseconds:.1f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"
