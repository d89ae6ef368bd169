"""Where the kernels of a step with rasteriser `own` stand against what the GPU can do.

    python benchmarks/kernel_roofline.py --scene bonsai --gaussians 0.7 2 5

For each stage of a step of `default`: its time, the bytes that it must move and the operations that
it must do, and the two floors that follow: bytes over the memory's bandwidth, and operations over
the rate of float32 arithmetic (an H100 SXM's where nothing else is given). Bytes count what a stage
reads and writes once, in caches or not, except for atomic sums. Operations are those
of compositing, counted in the source with a fused one as two. Needs a CUDA device; prints JSON.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import torch
from step_time import SH_STEP, make, trainer_step
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from gs_densify.cli.arguments import parse_train_arguments
from gs_densify.config.strategy import strategy_for, with_fitted_schedule
from gs_densify.rendering.own.stages import RECORD
from gs_densify.runs.loaded_scene import LoadedScene, load
from gs_densify.training.trainer import Trainer

PARAMETERS = 59  # floats of a Gaussian
RESULTS = 7  # numbers that a projection writes for each, drawn or not
FORWARD_OPERATIONS, BACKWARD_OPERATIONS = 26, 60  # of a pixel and a Gaussian that reaches its warp
PIECE = 512  # entries of a list between two states of its pixels
STEPS = 20


@dataclass(frozen=True)
class Load:
    """Means over views of what a step has to do."""

    gaussians: int
    drawn: float
    pairs: float  # of a tile and a Gaussian
    visits: float  # of a warp's 8x4 pixels and a Gaussian
    pixels: int


@dataclass(frozen=True)
class Stage:
    """Kernels by parts of their names, and what they must do."""

    kernels: tuple[str, ...]
    floats: Callable[[Load], float]
    operations: Callable[[Load], float] = lambda load: 0.0


STAGES = {
    "project": Stage(
        ("project_kernel",),
        lambda s: (4 + RESULTS) * s.gaussians + (PARAMETERS - 4 + RECORD) * s.drawn,
    ),
    "order": Stage(  # 4 passes by depth, 2 by tile, each reading and writing keys and values
        ("Radix", "Scan", "list_tiles", "gather(", "gather<", "number", "find_offsets"),
        lambda s: (1 + 4 * 4 + 6) * s.gaussians + 8 * s.drawn + (2 + 1 + 2 * 4 + 1) * s.pairs,
    ),
    "composite": Stage(
        ("composite_kernel", "composite_pieces", "join_pieces", "end_rays"),
        lambda s: (1 + RECORD + 4 * 256 / PIECE) * s.pairs + 6 * s.pixels,
        lambda s: 32 * FORWARD_OPERATIONS * s.visits,
    ),
    "composite, backward": Stage(
        ("composite_backward", "gather_kernel", "finish_kernel", "Memset"),
        lambda s: (
            (1 + RECORD + 4 * 256 / PIECE) * s.pairs
            + 9 * s.pixels
            + (RECORD + 4 + 2) * s.gaussians
            + (2 * RECORD + 5) * s.drawn
        ),
        lambda s: 32 * BACKWARD_OPERATIONS * s.visits,
    ),
    "project, backward": Stage(
        ("project_backward",),
        lambda s: (2 + PARAMETERS) * s.gaussians + (PARAMETERS + RECORD + 2) * s.drawn,
    ),
    "Adam": Stage(("_step",), lambda s: 7 * PARAMETERS * s.gaussians),
}


def load_of(trainer: Trainer, views: int = 10) -> Load:
    every = max(1, len(trainer.views.sizes) // views)
    found = [view_load(trainer, row) for row in range(0, len(trainer.views.sizes), every)]
    width, height = trainer.views.sizes[0]
    drawn, pairs, visits = (sum(values) / len(found) for values in zip(*found, strict=True))
    return Load(len(trainer.splats["means"]), drawn, pairs, visits, width * height)


@torch.no_grad()
def view_load(trainer: Trainer, row: int) -> tuple[float, float, float]:
    """Gaussians drawn, pairs, and visits of one view."""
    batch = trainer.views.batch([[row]])
    output = trainer.renderer(trainer.splats, batch.viewmats, batch.Ks, *batch.size, sh_degree=3)
    info = output.info
    ids, offsets = info["flatten_ids"].long(), info["isect_offsets"].flatten().long()
    tiles = torch.searchsorted(offsets, torch.arange(len(ids), device=ids.device), right=True) - 1
    corner = 16.0 * torch.stack([tiles % info["tile_width"], tiles // info["tile_width"]], -1)
    centre, conic = info["means2d"][0][ids], info["conics"][0][ids]
    limit = 2 * torch.log(255 * info["opacities"][0][ids])
    visits = sum(
        int((least_in(conic, corner + start - centre) <= limit).sum()) for start in subtiles(ids)
    )
    return float((info["radii"] > 0).all(-1).sum()), float(len(ids)), float(visits)


def subtiles(like: Tensor) -> Iterator[Tensor]:
    for y in range(0, 16, 4):
        for x in range(0, 16, 8):
            yield torch.tensor([x + 0.5, y + 0.5], device=like.device)


def least_in(conic: Tensor, corner: Tensor) -> Tensor:
    """The least value of the forms over rectangles of 8x4 pixel centres from `corner` on."""
    a, b, c = conic.unbind(-1)
    left, top = corner.unbind(-1)
    right, bottom = left + 7, top + 3
    x, y = (torch.zeros_like(a).clamp(low, high) for low, high in ((left, right), (top, bottom)))
    along_y, along_x = (-b * x / c).clamp(top, bottom), (-b * y / a).clamp(left, right)
    on_x = a * x * x + 2 * b * x * along_y + c * along_y**2
    on_y = a * along_x**2 + 2 * b * along_x * y + c * y * y
    return torch.minimum(on_x, on_y)


def kernel_times(trainer: Trainer) -> dict[str, float]:
    """Milliseconds a step by kernel."""
    step = trainer_step(trainer, 10)
    for i in range(STEPS):
        step(SH_STEP + 1 + i)
    with profile(activities=[ProfilerActivity.CUDA]) as trace:
        for i in range(STEPS):
            step(SH_STEP + 1 + i)
        torch.cuda.synchronize()
    return {e.key: e.self_device_time_total / 1e3 / STEPS for e in trace.key_averages()}


def measure(
    name: str, loaded: LoadedScene, count: int, bandwidth: float, rate: float
) -> Iterator[dict[str, object]]:
    config = with_fitted_schedule(parse_train_arguments([*name.split(), "--strategy", "default"]))
    strategy = strategy_for(config)
    strategy.refine_start_iter = 10**9
    trainer = make(config, loaded, count, strategy)
    for value in trainer.splats.values():  # who waits for a gradient has Adam's step in a kernel
        value.register_hook(lambda gradient: None)
    load, times = load_of(trainer), kernel_times(trainer)
    yield asdict(load)
    for what, stage in STAGES.items():
        found = sum(ms for key, ms in times.items() if any(part in key for part in stage.kernels))
        of_bytes = 4 * stage.floats(load) / bandwidth * 1e3
        of_operations = stage.operations(load) / rate * 1e3
        yield {
            "stage": what,
            "milliseconds": round(found, 4),
            "megabytes": round(4 * stage.floats(load) / 1e6, 1),
            "floor_of_bytes": round(of_bytes, 4),
            "floor_of_operations": round(of_operations, 4),
            "share_of_floor": round(max(of_bytes, of_operations) / found, 3) if found else None,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scene", default="bonsai")
    parser.add_argument("--downscale", default="1")
    parser.add_argument("--gaussians", nargs="+", type=float, default=[0.7, 2, 5])
    parser.add_argument("--deterministic", action="store_true")
    parser.add_argument("--bandwidth", type=float, default=3.35e12, help="bytes a second")
    parser.add_argument("--rate", type=float, default=67e12, help="float32 operations a second")
    given = parser.parse_args()
    name = f"--scene {given.scene} --downscale {given.downscale} --render.rasterizer own"
    name += " --render.deterministic" if given.deterministic else ""
    loaded = load(parse_train_arguments(name.split()))
    for millions in given.gaussians:
        for row in measure(name, loaded, round(1e6 * millions), given.bandwidth, given.rate):
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
