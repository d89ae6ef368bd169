"""Milliseconds a training step and where they go, beside a bare loop and a loop as peers ship it.

    python benchmarks/step_time.py --scene bonsai --downscale 1 --gaussians 0.2 0.7 2 5

Gaussians lie around the SfM points and their number stays as it is. All loops render the same
views at the same size, in one process, one after the other:

    bare    render, L1 + SSIM, backward, six fused Adam optimisers; photos on the GPU; nothing else
    peer    a DataLoader, `foreach` Adam, and a loss that is read at every step
    ours    the trainer of gs-train with the statistics of a strategy, without refinement
    parts   the same with CUDA events around its parts, which cost a little themselves

Needs a CUDA device. Prints JSON; `--kernels` adds the kernels that take longest.
"""

import argparse
import dataclasses
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from gs_densify.cli.arguments import parse_train_arguments
from gs_densify.config.options import RATES, LearningRates, TrainConfig
from gs_densify.config.strategy import strategy_for, with_fitted_schedule
from gs_densify.model.init import create_optimizers
from gs_densify.rendering.device import pick_device
from gs_densify.runs.loaded_scene import LoadedScene, load
from gs_densify.strategies.adapter import StrategyAdapter
from gs_densify.training.create import build_trainer
from gs_densify.training.losses import photometric_loss
from gs_densify.training.trainer import Trainer

SH_STEP = 4000
"""A step at which all SH degrees are in use and no strategy has stopped watching."""

STILL = LearningRates(**dict.fromkeys(RATES, 1e-9), means_final=1.0)
"""Every loop must render the same Gaussians, also the one that is timed last."""


def cloud(loaded: LoadedScene, count: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` points around those of the scene, and their colours."""
    random = np.random.default_rng(0)
    rows = random.integers(0, len(loaded.scene.points), count)
    points = loaded.scene.points[rows]
    jitter = 0.01 * loaded.scene.scene_scale * random.standard_normal(points.shape)
    return (points + jitter).astype(np.float32), loaded.scene.colors[rows]


def make(config: TrainConfig, loaded: LoadedScene, count: int, strategy: Any) -> Trainer:
    points, colors = cloud(loaded, count)
    return build_trainer(
        config,
        StrategyAdapter(config.strategy, strategy),
        points=points,
        colors=colors,
        views=loaded.scene.train_views,
        photos=loaded.train_photos,
        scene_scale=loaded.scene.scene_scale,
        near_plane=loaded.near_plane,
        device=pick_device("cuda"),
    )


def timed(step: Callable[[int], object], steps: int, repeats: int = 3) -> float:
    """Fastest mean of `repeats` rounds, in milliseconds a step."""
    means = []
    for round_ in range(repeats + 1):  # the first warms up
        torch.cuda.synchronize()
        started = time.perf_counter()
        for i in range(steps):
            step(SH_STEP + 1 + i)
        torch.cuda.synchronize()
        if round_:
            means.append(1e3 * (time.perf_counter() - started) / steps)
    return min(means)


def trainer_step(trainer: Trainer, log_every: int) -> Callable[[int], None]:
    def step(i: int) -> None:
        terms, _ = trainer.step(i)
        if i % log_every == 0:
            trainer.metrics_row(terms, 0.0)

    return step


def bare_step(trainer: Trainer, *, foreach: bool, absgrad: bool) -> Callable[[int], None]:
    splats = trainer.splats
    optimizers = create_optimizers(splats, dict.fromkeys(splats, 1e-9))
    if foreach:
        optimizers = {
            name: torch.optim.Adam([value], lr=1e-9, foreach=True, fused=False)
            for name, value in splats.items()
        }

    def step(i: int, given: Any = None) -> None:
        batch = trainer.views.batch(trainer.sampler.take()) if given is None else given
        output = trainer.renderer(
            splats,
            batch.viewmats,
            batch.Ks,
            *batch.size,
            sh_degree=3,
            absgrad=absgrad,
        )
        loss, _ = photometric_loss(output.image, batch.images, 0.2)
        loss.backward()
        if foreach:
            loss.item()
        for optimizer in optimizers.values():
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return step


def peer_step(trainer: Trainer, loaded: LoadedScene) -> Callable[[int], None]:
    """Photos from workers, as float, and copied at each step."""
    from gs_densify.training.batches import Batch

    class Photos(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(loaded.train_photos)

        def __getitem__(self, i: int) -> tuple[int, torch.Tensor]:
            return i, torch.from_numpy(loaded.train_photos[i]).float()

    loader = torch.utils.data.DataLoader(
        Photos(), batch_size=1, shuffle=True, num_workers=4, persistent_workers=True
    )

    def endless() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        while True:
            yield from loader

    source = endless()
    inner = bare_step(trainer, foreach=True, absgrad=False)

    def step(i: int) -> None:
        index, pixels = next(source)
        row = int(index)
        images = pixels.cuda() / 255.0
        views = trainer.views
        cameras = views.viewmats[row, None], views.Ks[row, None]
        inner(i, Batch([[row]], *cameras, images, weights=views.Ks.new_ones(1)))

    return step


def parts(trainer: Trainer, steps: int) -> dict[str, float]:
    """Mean milliseconds of each part on the GPU's time line, gaps included."""
    events: dict[str, list[tuple[torch.cuda.Event, torch.cuda.Event]]] = defaultdict(list)

    @contextmanager
    def section(name: str) -> Iterator[None]:
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        yield
        last.record()
        events[name].append((first, last))

    trainer.section = section
    for i in range(steps):
        trainer.step(SH_STEP + 1 + i)
    torch.cuda.synchronize()
    return {
        name: sum(first.elapsed_time(last) for first, last in pairs) / steps
        for name, pairs in events.items()
    }


def kernels(step: Callable[[int], object], steps: int = 20) -> dict[str, Any]:
    """Milliseconds and launches a step of the longest kernels and the sums over all."""
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as trace:
        for i in range(steps):
            step(SH_STEP + 1 + i)
        torch.cuda.synchronize()
    rows = [
        (e.key[:90], e.self_device_time_total / 1e3 / steps, e.count / steps)
        for e in trace.key_averages()
        if e.device_type == torch.autograd.DeviceType.CUDA
    ]
    rows.sort(key=lambda row: -row[1])
    return {
        "gpu_milliseconds": sum(row[1] for row in rows),
        "launches": sum(row[2] for row in rows),
        "longest": [[name, round(ms, 4), round(n, 2)] for name, ms, n in rows[:40]],
    }


def measure(
    config: TrainConfig, loaded: LoadedScene, count: int, arguments: argparse.Namespace
) -> dict[str, Any]:
    strategy = strategy_for(config)
    strategy.refine_start_iter = 10**9
    row: dict[str, Any] = {"gaussians": count}
    trainer = make(dataclasses.replace(config, lr=STILL), loaded, count, strategy)
    steps = arguments.steps
    row["bare"] = timed(bare_step(trainer, foreach=False, absgrad=False), steps)
    row["bare_absgrad"] = timed(bare_step(trainer, foreach=False, absgrad=True), steps)
    row["peer"] = timed(peer_step(trainer, loaded), steps)
    row["ours"] = timed(trainer_step(trainer, config.log_every), steps)
    if arguments.kernels:
        row["kernels"] = kernels(trainer_step(trainer, config.log_every))
    row["parts"] = parts(trainer, steps)
    row["ours_to_bare"] = row["ours"] / row["bare"]
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scene", default="bonsai")
    parser.add_argument("--downscale", default="1")
    parser.add_argument("--rasterizer", default="auto")
    parser.add_argument("--strategy", nargs="+", default=["default"])
    parser.add_argument("--gaussians", nargs="+", type=float, default=[0.2, 0.7, 2, 5])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--kernels", action="store_true")
    arguments = parser.parse_args()
    loaded = None
    for name in arguments.strategy:
        flags = ["--scene", arguments.scene, "--downscale", arguments.downscale, "--strategy", name]
        flags += ["--render.rasterizer", arguments.rasterizer]
        config = with_fitted_schedule(parse_train_arguments(flags))
        loaded = loaded or load(config)
        for millions in arguments.gaussians:
            row = measure(config, loaded, round(millions * 1e6), arguments)
            print(json.dumps({"strategy": name, **row}), flush=True)


if __name__ == "__main__":
    main()
