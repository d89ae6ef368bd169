"""Gradient statistics of a step in one Triton kernel, for CUDA: the torch ones launch twelve."""

import triton
import triton.language as tl
from torch import Tensor

from gs_densify.kernels import Launcher, alignment_of

_BLOCK = 256


@triton.jit(do_not_specialize=["count", "n_cameras"])
def _accumulate(
    grads, radii, total, seen, largest, across, down, count, n_cameras, BLOCK: tl.constexpr
):
    """Adds to `total` and `seen`, and raises `largest` where it is given: [N]."""
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = rows < count
    norms = tl.load(total + rows, mask=inside, other=0.0)
    views = tl.load(seen + rows, mask=inside, other=0.0)
    highest = tl.zeros_like(norms)
    camera = 0
    while camera < n_cameras:  # Triton's interpreter has no `range` of an argument
        at = 2 * (camera * count + rows)
        wide = tl.load(radii + at, mask=inside, other=0) > 0
        drawn = wide & (tl.load(radii + at + 1, mask=inside, other=0) > 0)
        x = across * tl.load(grads + at, mask=drawn, other=0.0)
        y = down * tl.load(grads + at + 1, mask=drawn, other=0.0)
        norm = tl.sqrt(x * x + y * y)
        norms += norm
        highest = tl.maximum(highest, norm)
        views += tl.where(drawn, 1.0, 0.0)
        camera += 1
    tl.store(total + rows, norms, mask=inside)
    tl.store(seen + rows, views, mask=inside)
    if largest is not None:
        highest = tl.maximum(highest, tl.load(largest + rows, mask=inside, other=0.0))
        tl.store(largest + rows, highest, mask=inside)


_launch = Launcher(_accumulate)


def accumulate(
    grads: Tensor,
    radii: Tensor,
    to_half_images: tuple[float, float],
    total: Tensor,
    seen: Tensor,
    largest: Tensor | None,
) -> None:
    """Is `statistics.accumulate_gradients` of gradients and radii [C,N,2] that are not packed."""
    n_cameras, count = grads.shape[:2]
    grads, radii = grads.contiguous(), radii.contiguous()
    raised = () if largest is None else (largest,)
    kind = grads.get_device(), radii.dtype, alignment_of(grads, radii, total, seen, *raised)
    _launch(
        kind, (-(-count // _BLOCK), 1, 1),
        grads, radii, total, seen, largest, *to_half_images, count, n_cameras, _BLOCK,
    )  # fmt: skip
