"""Time the torch reference rasteriser on the CPU; print medians and minima as JSON.

    python benchmarks/reference_rasterizer.py --threads 2

Each case is a cloud of Gaussians sized by the spacing of their neighbours, rendered with SH of
degree 3 by one camera that sees all of them, and an L2 loss.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time

import torch
from torch import Tensor

from gs_densify.rendering.reference.rasterizer import TILE_SIZE, ReferenceRasterizer

# Gaussians, width, height, repetitions
CASES = [(500, 48, 32, 30), (2_000, 96, 64, 20), (5_000, 192, 128, 10), (100_000, 400, 300, 2)]


def cloud(n: int, seed: int = 0) -> list[Tensor]:
    """Means, quats, scales, opacities and SH of n Gaussians in a box of 2.4 x 1.6 x 1."""
    generator = torch.Generator().manual_seed(seed)
    box = torch.tensor([2.4, 1.6, 1.0])
    means = (torch.rand(n, 3, generator=generator) - 0.5) * box
    spacing = 0.5 * float(box.prod() / n) ** (1 / 3)
    scales = spacing * (0.5 + torch.rand(n, 3, generator=generator))
    opacities = 0.1 + 0.5 * torch.rand(n, generator=generator)
    quats = torch.randn(n, 4, generator=generator)
    sh = 0.3 * torch.randn(n, 16, 3, generator=generator)
    return [t.requires_grad_() for t in (means, quats, scales, opacities, sh)]


def measure(n: int, width: int, height: int, repetitions: int, absgrad: bool) -> dict:
    parameters = cloud(n)
    viewmats = torch.eye(4)[None].clone()
    viewmats[:, 2, 3] = 3.0
    Ks = torch.tensor([[[width, 0, width / 2], [0, width, height / 2], [0, 0, 1.0]]])
    rasterizer = ReferenceRasterizer()
    forward, backward = [], []
    for _ in range(repetitions + 1):
        started = time.perf_counter()
        out = rasterizer(*parameters, viewmats, Ks, width, height, sh_degree=3, absgrad=absgrad)
        loss = (out.image - 0.5).square().mean()
        rendered = time.perf_counter()
        torch.autograd.grad(loss, parameters)
        forward.append(1e3 * (rendered - started))
        backward.append(1e3 * (time.perf_counter() - rendered))
    return {
        "gaussians": n,
        "width": width,
        "height": height,
        "absgrad": absgrad,
        "tile_pairs": len(out.info["flatten_ids"]),
        "mean_alpha": round(out.alpha.mean().item(), 4),
        # The first repetition warms up.
        "forward_ms": spread(forward[1:]),
        "backward_ms": spread(backward[1:]),
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def spread(times: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(times), 2), "min": round(min(times), 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    report = {
        "torch": torch.__version__,
        "threads": arguments.threads,
        "tile_size": TILE_SIZE,
        "cases": [measure(*case, absgrad) for case in CASES for absgrad in (False, True)],
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
