"""Step time and memory against the number of Gaussians and of pixels.

    python benchmarks/scaling.py --scene bonsai --downscale 1

The trainer's own step, as in step_time.py but of views that it has seen before, at 0.1 to 5 million
Gaussians on the scene's photos, and at 1 million on photos and cameras scaled by 1/4 to 2. Needs a
CUDA device; prints JSON.
"""

import argparse
import dataclasses
import json
from typing import Any

import numpy as np
import torch
from PIL import Image
from step_time import SH_STEP, make, timed, trainer_step

from gs_densify.cli.arguments import parse_train_arguments
from gs_densify.config.options import TrainConfig
from gs_densify.config.strategy import strategy_for, with_fitted_schedule
from gs_densify.runs.loaded_scene import LoadedScene, load
from gs_densify.scene.scene import View


def scaled(loaded: LoadedScene, factor: float) -> LoadedScene:
    """The scene with training photos and intrinsics resized; test views are dropped."""
    views, photos = [], []
    for view, photo in zip(loaded.scene.train_views, loaded.train_photos, strict=True):
        size = round(view.width * factor), round(view.height * factor)
        scale = np.diag([size[0] / view.width, size[1] / view.height, 1.0])
        photos.append(np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BOX)))
        views.append(resized(view, scale @ view.K, size))
    scene = dataclasses.replace(loaded.scene, views=tuple(views), test_every=0)
    return dataclasses.replace(loaded, scene=scene, train_photos=photos, test_photos=[])


def resized(view: View, K: np.ndarray, size: tuple[int, int]) -> View:
    return dataclasses.replace(view, K=K, width=size[0], height=size[1])


def measure(config: TrainConfig, loaded: LoadedScene, count: int) -> dict[str, Any]:
    strategy = strategy_for(config)
    strategy.refine_start_iter = 10**9
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    trainer = make(config, loaded, count, strategy)
    step = trainer_step(trainer, config.log_every)
    for i in range(len(trainer.views)):  # a step waits where it is the first of its view
        step(SH_STEP + i)
    milliseconds = timed(step, 100, repeats=2)
    width, height = trainer.views.sizes[0]
    return {
        "gaussians": count,
        "width": width,
        "height": height,
        "milliseconds": milliseconds,
        "peak_bytes": torch.cuda.max_memory_allocated(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scene", default="bonsai")
    parser.add_argument("--downscale", default="1")
    parser.add_argument("--rasterizer", default="auto")
    parser.add_argument("--gaussians", nargs="+", type=float, default=[0.1, 0.3, 1, 2, 5])
    parser.add_argument("--factors", nargs="+", type=float, default=[0.25, 0.5, 2.0])
    arguments = parser.parse_args()
    scene = ["--scene", arguments.scene, "--downscale", arguments.downscale]
    scene += ["--render.rasterizer", arguments.rasterizer]
    config = with_fitted_schedule(parse_train_arguments([*scene, "--strategy", "default"]))
    loaded = load(config)
    for millions in arguments.gaussians:
        print(json.dumps(measure(config, loaded, round(1e6 * millions))), flush=True)
    for factor in arguments.factors:
        print(json.dumps(measure(config, scaled(loaded, factor), 1_000_000)), flush=True)


if __name__ == "__main__":
    main()
