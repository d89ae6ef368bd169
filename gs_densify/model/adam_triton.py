"""Adam's step of all parameters of a model in one Triton kernel, for CUDA.

A program has `BLOCK` values of one parameter. Every parameter has one row a Gaussian, so that the
number of its programs is a multiple of its width, which is known when the kernel is compiled; the
number of Gaussians is not, and may change without another compilation. Indices are rows, not
values: 2^31 Gaussians fit.
"""

from collections.abc import Sequence

import triton
import triton.language as tl
from torch import Tensor

from gs_densify.kernels import Launcher, alignment_of

_BLOCK = 512
_WARPS = _BLOCK // 32
"""One value a thread: more would be loaded with strides, as the compiler knows no aligned mask."""


@triton.jit
def _step_block(
    parameter, grad, exp_avg, exp_avg_sq, step_size, eps, decay, visible, n, weight1, weight2,
    first_row, chunk, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Steps values `chunk` * BLOCK to (`chunk` + 1) * BLOCK of the rows from `first_row` on."""
    place = chunk * BLOCK + tl.arange(0, BLOCK)
    row = first_row + place // WIDTH
    inside = row < n
    if visible is not None:
        inside = inside & tl.load(visible + row, mask=inside, other=False)
    place += first_row.to(tl.int64) * WIDTH
    g = tl.load(grad + place, mask=inside, other=0.0)
    average = tl.load(exp_avg + place, mask=inside, other=0.0)
    square = tl.load(exp_avg_sq + place, mask=inside, other=0.0)
    value = tl.load(parameter + place, mask=inside, other=0.0)
    average += weight1 * (g - average)
    square += weight2 * (g * g - square)
    value = decay * value - step_size * (average / (tl.sqrt(square) + eps))
    tl.store(exp_avg + place, average, mask=inside)
    tl.store(exp_avg_sq + place, square, mask=inside)
    tl.store(parameter + place, value, mask=inside)


@triton.jit(do_not_specialize=["n"])
def _step(
    parameters, grads, exp_avgs, exp_avg_sqs, step_sizes, epsilons, decays, visible, n, weight1,
    weight2, WIDTHS: tl.constexpr, TOTAL: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Adam's step, in place; TOTAL programs, the sum of WIDTHS, have the same BLOCK rows."""
    first_row = (tl.program_id(0) // TOTAL) * BLOCK
    chunk = tl.program_id(0) % TOTAL
    for i in tl.static_range(len(WIDTHS)):
        if (chunk >= 0) & (chunk < WIDTHS[i]):
            _step_block(
                parameters[i], grads[i], exp_avgs[i], exp_avg_sqs[i], step_sizes[i], epsilons[i],
                decays[i], visible, n, weight1, weight2, first_row, chunk, WIDTHS[i], BLOCK,
            )  # fmt: skip
        chunk -= WIDTHS[i]


_launch = Launcher(_step, num_warps=_WARPS)


def step_rows(
    steps: Sequence[tuple[Tensor, Tensor, Tensor, Tensor, float, float, float]],
    rows: int,
    betas: tuple[float, float],
    visible: Tensor | None,
) -> None:
    """Adam's step of contiguous float32 parameters of N = `rows` rows, in place.

    `steps` has parameter, gradient, exp_avg and exp_avg_sq [N,...], and what scales the step, is
    added to the root of exp_avg_sq, and is multiplied into the parameter. Bias correction is up to
    these factors. Rows that are not in `visible` [N] (bool), where it is given, are not touched.
    """
    tensors = [one for step in steps for one in step[:4]]
    widths = tuple([one.numel() // rows for one in tensors[::4]])
    total = sum(widths)
    shape = widths, total, _BLOCK
    mask = () if visible is None else (visible,)
    kind = tensors[0].get_device(), alignment_of(*tensors), shape, alignment_of(*mask)
    _launch(
        kind, (triton.cdiv(rows, _BLOCK) * total, 1, 1),
        *zip(*steps, strict=True), visible, rows, 1.0 - betas[0], 1.0 - betas[1], *shape,
    )  # fmt: skip
