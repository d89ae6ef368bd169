"""Milliseconds of the photometric loss and its gradient alone, beside the same in plain torch.

    python benchmarks/loss_time.py --size 990 742

The pictures are random; the work does not depend on them. `kernels` is the part of `ours` for which
the GPU works. Needs a CUDA device; prints JSON.
"""

import argparse
import json
from collections.abc import Callable

import torch
from step_time import kernels, timed
from torch import Tensor

from gs_densify.rendering.device import pick_device
from gs_densify.training.losses import _plain_loss, photometric_loss


def step_of(loss_of: Callable[..., tuple], render: Tensor, image: Tensor) -> Callable[[int], None]:
    """One loss and its gradient by `render`, [1,H,W,3] both."""

    weights = torch.ones(1, device=render.device)

    def step(i: int) -> None:
        loss_of(render, image, weights)[0].backward()
        render.grad = None

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", nargs=2, type=int, default=[990, 742], help="width and height")
    width, height = parser.parse_args().size
    shape, device = (1, height, width, 3), pick_device("cuda")
    render = torch.rand(shape, device=device, requires_grad=True)
    image = torch.rand(shape, device=device)
    ours = step_of(lambda a, b, w: photometric_loss(a, b, 0.2, weights=w), render, image)
    row = {
        "gpu": torch.cuda.get_device_name(),
        "width": width,
        "height": height,
        "ours": timed(ours, 200),
        "kernels": kernels(ours)["gpu_milliseconds"],
        "plain": timed(step_of(lambda a, b, w: _plain_loss(a, b, w, 0.2), render, image), 200),
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
