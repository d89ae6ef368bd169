"""What a strategy costs: the same 500 steps of one training with its hooks and without.

    python benchmarks/strategy_share.py --scene bonsai --downscale 1 --strategy default adaptive

Trains to step `--at`, then goes on from there, again and again, in turns with the strategy (its
statistics, attributed maps and refinements) and with none. With it the number of Gaussians grows
during these steps; steps without it are timed with the model before and with the one after them,
so that rendering more Gaussians is not taken for the strategy's work (`share_with_growth` compares
with the model before alone). Needs a CUDA device; prints JSON.
"""

import argparse
import json
import statistics
import time

import torch
from tqdm import tqdm

from gs_densify.cli.arguments import parse_train_arguments
from gs_densify.config.options import TrainConfig
from gs_densify.config.strategy import most_gaussians, strategy_for, with_fitted_schedule
from gs_densify.model.init import to_parameters
from gs_densify.rendering.device import pick_device
from gs_densify.runs.loaded_scene import LoadedScene, load
from gs_densify.strategies.adapter import StrategyAdapter
from gs_densify.strategies.base import Strategy
from gs_densify.training.create import SCENE_SCALE_MARGIN, build_trainer
from gs_densify.training.trainer import Trainer


def timed_steps(trainer: Trainer, first: int, steps: int) -> float:
    """Milliseconds a step."""
    torch.cuda.synchronize()
    started = time.perf_counter()
    for step in range(first, first + steps):
        trainer.step(step)
    torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - started) / steps


def single_steps(trainer: Trainer, first: int, steps: int) -> dict[str, float]:
    """Milliseconds of steps that are waited for: ordinary ones, refinements, and the ones after.

    Where segments of memory cannot grow, a step after a refinement finds none that fits.
    """
    times: dict[str, list[float]] = {"ordinary": [], "refinement": [], "after_refinement": []}
    kind = "ordinary"
    for step in range(first, first + steps):
        count = len(trainer.splats["means"])
        time_ = timed_steps(trainer, step, 1)
        is_refinement = len(trainer.splats["means"]) != count
        times["refinement" if is_refinement else kind].append(time_)
        kind = "after_refinement" if is_refinement else "ordinary"
    return {kind: statistics.median(values) for kind, values in times.items() if values}


def copied(value: object) -> object:
    """A copy that training cannot change."""
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if isinstance(value, list) else value


def measure(
    config: TrainConfig, loaded: LoadedScene, arguments: argparse.Namespace
) -> dict[str, object]:
    name = config.strategy
    scene = loaded.scene
    strategy = strategy_for(config)
    limit = most_gaussians(config, strategy)
    adapter = StrategyAdapter(name, strategy, max_gaussians=limit)
    nothing = StrategyAdapter("none", Strategy(), max_gaussians=limit)
    device = pick_device("cuda")
    trainer = build_trainer(
        config,
        adapter,
        points=scene.points,
        colors=scene.colors,
        views=scene.train_views,
        photos=loaded.train_photos,
        scene_scale=scene.scene_scale,
        near_plane=loaded.near_plane,
        device=device,
    )
    bare = Trainer(
        config,
        to_parameters(dict(trainer.splats), device),
        trainer.views,
        trainer.renderer,
        nothing,
        scene_scale=scene.scene_scale * SCENE_SCALE_MARGIN,
    )
    with tqdm(total=arguments.at, disable=True) as bar:
        trainer.run(arguments.at, lambda row: None, bar)
    saved = copied(trainer.state_dict())
    times: dict[str, list[float]] = {"before": [], "with": [], "after": []}
    gaussians: dict[str, int] = {}
    for _ in range(arguments.repeats):
        start = saved
        for kind in times:
            timed = trainer if kind == "with" else bare
            first = int(start["step"])  # type: ignore[call-overload]
            timed.load_state_dict(copied(start))  # type: ignore[arg-type]
            timed_steps(timed, first, 20)
            timed.load_state_dict(copied(start))  # type: ignore[arg-type]
            times[kind].append(timed_steps(timed, first, arguments.steps))
            gaussians[kind] = len(timed.splats["means"])
            if kind == "with":
                start = copied({**trainer.state_dict(), "step": first + arguments.steps})
    trainer.load_state_dict(copied(saved))  # type: ignore[arg-type]
    single = single_steps(trainer, arguments.at, arguments.steps)
    before, with_, after = (statistics.median(times[kind]) for kind in times)
    return {
        "strategy": name,
        "gpu": torch.cuda.get_device_name(),
        "at": arguments.at,
        "gaussians": gaussians,
        "milliseconds": times,
        "waited_for": single,
        "share_of_a_step": 1 - (before + after) / 2 / with_,
        "share_with_growth": 1 - before / with_,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scene", default="bonsai")
    parser.add_argument("--downscale", default="1")
    parser.add_argument("--rasterizer", default="auto")
    parser.add_argument("--strategy", nargs="+", default=["default", "adaptive"])
    parser.add_argument("--at", type=int, default=5000)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    scene = ["--scene", arguments.scene, "--downscale", arguments.downscale]
    scene += ["--render.rasterizer", arguments.rasterizer]
    loaded = None
    for name in arguments.strategy:
        config = with_fitted_schedule(parse_train_arguments([*scene, "--strategy", name]))
        loaded = loaded or load(config)
        print(json.dumps(measure(config, loaded, arguments)), flush=True)


if __name__ == "__main__":
    main()
