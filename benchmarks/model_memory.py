"""GPU memory and step time by the number of Gaussians, for each means of fitting a model.

    python benchmarks/model_memory.py --scene bonsai --gaussians 2 5

Steps of gs-train with the statistics of `default`, then a refinement that splits a twentieth of the
Gaussians and drops as many, and more steps; peaks are those of torch's allocator, of tensors and of
what it holds. Needs a CUDA device; prints JSON lines.
"""

import argparse
import gc
import json
import math
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from step_time import SH_STEP, cloud

from gs_densify.cli.arguments import parse_train_arguments
from gs_densify.config.strategy import strategy_for, with_fitted_schedule
from gs_densify.model.init import create_splats
from gs_densify.runs.loaded_scene import LoadedScene, load
from gs_densify.strategies import ops
from gs_densify.strategies.adapter import StrategyAdapter
from gs_densify.training.create import build_trainer
from gs_densify.training.trainer import Trainer

MEANS = {
    "own": ["--render.rasterizer", "own"],
    "gsplat": ["--render.rasterizer", "gsplat"],
    "packed": ["--render.packed"],
    "offload": ["--render.offload"],
}
_SHARE = 20
_SAMPLE = 200_000
"""Gaussians from whose distances those of more follow, as between evenly spread ones."""


def model_of(loaded: LoadedScene, count: int) -> dict[str, torch.Tensor]:
    """Gaussians around the SfM points, as large as in `scaling.py`."""
    points, colors = cloud(loaded, count)
    options = {"scene_scale": loaded.scene.scene_scale, "sh_degree": 3, "init_opacity": 0.1}
    some = create_splats(
        points[:_SAMPLE], colors[:_SAMPLE], init_scale=1.0, device=torch.device("cpu"), **options
    )
    shrink = math.log(max(1.0, count / _SAMPLE)) / 3
    repeats = -(-count // len(some["means"]))
    values = {n: one.detach().repeat(repeats, *[1] * (one.dim() - 1)) for n, one in some.items()}
    values = {name: one[:count] for name, one in values.items()}
    return {**values, "means": torch.from_numpy(points), "scales": values["scales"] - shrink}


def measure(
    means: str, arguments: list[str], loaded: LoadedScene, model: dict[str, torch.Tensor]
) -> dict[str, Any]:
    """Figures of one means."""
    config = with_fitted_schedule(parse_train_arguments([*arguments, *MEANS[means]]))
    strategy = strategy_for(config)
    strategy.refine_start_iter = 10**9
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    count = len(model["means"])
    trainer = build_trainer(
        config,
        StrategyAdapter(config.strategy, strategy),
        points=model["means"].numpy(),
        colors=None,
        views=loaded.scene.train_views,
        photos=loaded.train_photos,
        scene_scale=loaded.scene.scene_scale,
        near_plane=loaded.near_plane,
        device=torch.device("cuda"),
        model=model,
    )
    photos = sum(photo.nbytes for photo in trainer.views._photos)
    found: dict[str, Any] = {"means": means, "gaussians": count}
    try:
        steps(trainer, 20)
        found["milliseconds"] = steps(trainer, 40)
        found["steps_peak"] = torch.cuda.max_memory_allocated() - photos
        started = time.perf_counter()
        refine(trainer, count)
        torch.cuda.synchronize()
        found["refine_milliseconds"] = 1e3 * (time.perf_counter() - started)
        found["after_refining"] = steps(trainer, 20)
        found["parts"] = parts(trainer, 20)
    except torch.cuda.OutOfMemoryError:
        found["milliseconds"] = "out of memory"
    found["peak"] = torch.cuda.max_memory_allocated() - photos
    found["peak_held"] = torch.cuda.max_memory_reserved() - photos
    found["bytes_per_gaussian"] = found["peak"] / count
    found["held_per_gaussian"] = found["peak_held"] / count
    return found


def steps(trainer: Trainer, count: int) -> float:
    """Milliseconds a step; the last one looks for non-finite values."""
    torch.cuda.synchronize()
    started = time.perf_counter()
    for i in range(count):
        trainer.step(SH_STEP + 1 + i, is_checked=i == count - 1)
    torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - started) / count


def refine(trainer: Trainer, count: int) -> None:
    rows = torch.arange(count, device="cuda")
    ops.split(*trainer.gaussians, rows % _SHARE == 0)
    ops.remove_surplus(*trainer.gaussians, count)


def parts(trainer: Trainer, count: int) -> dict[str, float]:
    """Milliseconds of each part of a step, which is waited for."""
    times: dict[str, float] = defaultdict(float)

    @contextmanager
    def section(name: str) -> Iterator[None]:
        torch.cuda.synchronize()
        started = time.perf_counter()
        yield
        torch.cuda.synchronize()
        times[name] += 1e3 * (time.perf_counter() - started) / count

    whole, trainer.section = trainer.section, section
    steps(trainer, count)
    trainer.section = whole
    return {name: round(value, 2) for name, value in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scene", default="bonsai")
    parser.add_argument("--downscale", default="1")
    parser.add_argument("--gaussians", nargs="+", type=float, default=[2, 5], help="millions")
    parser.add_argument("--means", nargs="+", choices=MEANS, default=list(MEANS))
    arguments = parser.parse_args()
    wanted = ["--scene", arguments.scene, "--downscale", arguments.downscale]
    wanted += ["--strategy", "default"]
    loaded = load(parse_train_arguments(wanted))
    for millions in arguments.gaussians:
        model = model_of(loaded, round(1e6 * millions))
        for means in arguments.means:
            found = measure(means, wanted, loaded, model)
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
