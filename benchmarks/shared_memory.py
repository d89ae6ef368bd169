"""Memory and time of a step where one GPU holds all Gaussians, or several share them or its views.

    python benchmarks/shared_memory.py --gaussians 12e6 --views 1
    torchrun --nproc-per-node 2 benchmarks/shared_memory.py --gaussians 20e6 --views 2
    torchrun --nproc-per-node 2 benchmarks/shared_memory.py --gaussians 2e6 --views 2 \
        --parallel views

Gaussians fill a ball that cameras look into from around it, as small as their number asks for; a
step renders `--views` views of 800x533 pixels under `default`, and one in five refines: it drops
the faintest, so that all rows are copied. Needs CUDA devices. Prints a line of JSON.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from gs_densify.config.options import RenderOptions, TrainConfig
from gs_densify.distributed.group import Group, joined
from gs_densify.rendering.device import pick_device
from gs_densify.scene.scene import View
from gs_densify.strategies.adapter import StrategyAdapter
from gs_densify.strategies.methods.default import DefaultStrategy
from gs_densify.training.create import build_trainer
from gs_densify.training.trainer import Trainer

WIDTH, HEIGHT = 800, 533
NUM_VIEWS = 8
REFINE_EVERY = 5
SH_EVERY = 1


def views() -> list[View]:
    """Cameras on a circle of radius 3 that look at its centre."""
    found = []
    for number in range(NUM_VIEWS):
        angle = 2 * np.pi * number / NUM_VIEWS
        c, s = np.cos(angle), np.sin(angle)
        pose = np.array([[c, 0, -s, 0], [0, 1, 0, 0], [s, 0, c, 3.0], [0, 0, 0, 1]])
        K = np.array([[600.0, 0, WIDTH / 2], [0, 600.0, HEIGHT / 2], [0, 0, 1]])
        found.append(View(f"{number}.png", Path(), 1, pose, K, WIDTH, HEIGHT))
    return found


def model(count: int, device: torch.device) -> dict[str, torch.Tensor]:
    """Gaussians in a ball of radius 1.5, of a size with which they touch."""
    torch.manual_seed(0)
    points = torch.randn(count, 3, device=device)
    radii = 1.5 * torch.rand(count, 1, device=device) ** (1 / 3)
    size = 1.5 / count ** (1 / 3)
    return {
        "means": points / points.norm(dim=1, keepdim=True) * radii,
        "scales": torch.full((count, 3), float(np.log(size)), device=device),
        "quats": torch.randn(count, 4, device=device),
        "opacities": torch.randn(count, device=device) - 3,
        "sh0": torch.rand(count, 1, 3, device=device),
        "shN": torch.zeros(count, 15, 3, device=device),
    }


def trainer_of(arguments: argparse.Namespace, group: Group, device: torch.device) -> Trainer:
    count = int(arguments.gaussians)
    config = TrainConfig(
        scene="ball",
        batch_size=arguments.views,
        gpus=group.size,
        parallel=arguments.parallel if group.size > 1 else "views",
        steps=1000,
        render=RenderOptions(rasterizer=arguments.rasterizer, sh_degree_every=SH_EVERY),
    )
    strategy = DefaultStrategy(
        refine_start_iter=0, refine_every=REFINE_EVERY, grow_grad2d=1e9, reset_every=10**6
    )
    photos = np.random.default_rng(0).integers(0, 256, (NUM_VIEWS, HEIGHT, WIDTH, 3), np.uint8)
    splats = model(count, device if device.type == "cuda" else torch.device("cpu"))
    return build_trainer(
        config,
        StrategyAdapter("default", strategy),
        points=np.empty((count, 3), np.float32),
        colors=None,
        views=views(),
        photos=photos,
        scene_scale=1.0,
        near_plane=0.05,
        device=device,
        model=splats,
        group=group,
    )


def main() -> None:
    """Measures, and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gaussians", type=float, required=True)
    parser.add_argument("--views", type=int, default=1)
    parser.add_argument("--rasterizer", default="gsplat")
    parser.add_argument("--parallel", choices=["views", "gaussians"], default="gaussians")
    parser.add_argument("--steps", type=int, default=3 * REFINE_EVERY)
    arguments = parser.parse_args()
    with joined("auto") as group:
        device = pick_device("auto")
        trainer = trainer_of(arguments, group, device)
        is_gpu = device.type == "cuda"
        if is_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
        seconds = []
        for step in range(arguments.steps):
            started = time.perf_counter()
            trainer.step(step)
            if is_gpu:
                torch.cuda.synchronize(device)
            seconds.append(time.perf_counter() - started)
        peak = torch.cuda.max_memory_allocated(device) if is_gpu else 0
        reserved = torch.cuda.max_memory_reserved(device) if is_gpu else 0
        found = {
            "gpus": group.size,
            "parallel": trainer.config.parallel,
            "gaussians": int(arguments.gaussians),
            "left": trainer.num_gaussians,
            "views_a_step": arguments.views,
            "rasterizer": arguments.rasterizer,
            "peak_gb_a_gpu": (group.largest(peak) or 0) / 1e9,
            "reserved_gb_a_gpu": (group.largest(reserved) or 0) / 1e9,
            "bytes_a_gaussian": (group.largest(peak) or 0) * group.size / arguments.gaussians,
            "milliseconds_a_step": 1e3 * float(np.median(seconds[REFINE_EVERY:])),
        }
        if group.is_first:
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
