"""A run from its configuration to its result files, in one process or in several."""

import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from gs_densify.rendering.base import make_rasterizer
from gs_densify.results import Results
from gs_densify.strategies.registry import require_device
from gs_densify.training import record, run_folder
from gs_densify.training.checkpoint import (
    latest_checkpoint,
    load_checkpoint,
    restore_random_state,
)
from gs_densify.training.config import TrainConfig
from gs_densify.training.config_file import save_config
from gs_densify.training.device import pick_device
from gs_densify.training.load import LoadedScene, load
from gs_densify.training.mls_bench import lines_of
from gs_densify.training.resolution import possible_reductions
from gs_densify.training.run_process import RunProcess
from gs_densify.training.run_state import Clock, RunState, state_in
from gs_densify.training.strategy_setup import strategy_for
from gs_densify.training.warm_up import warming_up


def train(
    config: TrainConfig, command: Sequence[str], started: float | None = None
) -> tuple[Results, Path]:
    """Train, evaluate, and write every file of the run; returns the results and the folder.

    `started` is when the command began, of `time.perf_counter`; None: now.
    """
    clock = Clock(time.perf_counter() if started is None else started)
    device = _checked_device(config)
    strategy = strategy_for(config)
    lines = lines_of(config)
    run_folder.check_free(config.out)  # now, not after loading
    loaded = _load(config, device)
    folder = run_folder.create_folder(config.out, run_folder.default_folder(config))
    state = RunState(
        command=list(command), strategy=config.strategy, num_initial=len(loaded.scene.points)
    )
    run = RunProcess(config, folder, loaded, device, state, clock, lines)
    trainer = run.make_trainer(strategy)
    save_config(run_folder.with_kept_strategy_file(config, folder), folder / run_folder.CONFIG)
    return run.finish(trainer), folder


def resume(config: TrainConfig, started: float | None = None) -> tuple[Results, Path]:
    """Go on with the run in the folder `config.out` from its last checkpoint, and finish it.

    On a CPU its results are those of a run that was never interrupted.

    Raises:
        ResultError: the run is complete, or has no checkpoint from which it can go on.
    """
    started = time.perf_counter() if started is None else started
    folder = config.out
    assert folder is not None
    path = latest_checkpoint(folder)
    device = _checked_device(config)
    strategy = strategy_for(config)
    contents = load_checkpoint(path, device)
    state, step = state_in(contents, path), contents["step"]
    state.resumed_at.append(step)
    config = dataclasses.replace(config, strategy=state.strategy)  # in what is written
    loaded = _load(config, device)
    clock = Clock(started, before=state.total_seconds)
    run = RunProcess(config, folder, loaded, device, state, clock, lines_of(config, step=step))
    trainer = run.make_trainer(strategy)
    trainer.load_state_dict(contents)
    restore_random_state(contents["random"])
    contents.clear()
    print(f"{folder}: goes on after step {step}", file=sys.stderr)
    return run.finish(trainer), folder


def _checked_device(config: TrainConfig) -> torch.device:
    """The device; an error now, not after loading, where it or a rasteriser is missing."""
    device = pick_device(config.device)
    record.forget_peak_memory(device)
    require_device(config.strategy, device.type)
    make_rasterizer(device)
    return device


def _load(config: TrainConfig, device: torch.device) -> LoadedScene:
    with warming_up(device):
        loaded = load(config)
    if config.render.coarse_until:
        possible_reductions((view.width, view.height) for view in loaded.scene.train_views)
    return loaded
