"""Adam's step of all parameters of a model in one Triton kernel, for CUDA.

A program has `BLOCK` values of one parameter. Every parameter has one row a Gaussian, so that the
number of its programs is a multiple of its width, which is known when the kernel is compiled; the
number of Gaussians is not, and may change without another compilation. Indices are rows, not
values: 2^31 Gaussians fit.
"""

from collections.abc import Sequence
from typing import TypeAlias

import triton
import triton.language as tl
from torch import Tensor

from gs_densify.kernels import Launcher, alignment_of

_BLOCK = 512
_WARPS = _BLOCK // 32
"""One value a thread: more would be loaded with strides, as the compiler knows no aligned mask."""


@triton.jit
def _step_block(
    grad, parameter, exp_avg, exp_avg_sq, step_size, eps, decay, weight1, weight2, visible, n,
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
    grads, parameters, exp_avgs, exp_avg_sqs, step_sizes, epsilons, decays, weights1, weights2,
    visible, n, WIDTHS: tl.constexpr, TOTAL: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Adam's step, in place; TOTAL programs, the sum of WIDTHS, have the same BLOCK rows."""
    first_row = (tl.program_id(0) // TOTAL) * BLOCK
    chunk = tl.program_id(0) % TOTAL
    for i in tl.static_range(len(WIDTHS)):
        if (chunk >= 0) & (chunk < WIDTHS[i]):
            _step_block(
                grads[i], parameters[i], exp_avgs[i], exp_avg_sqs[i], step_sizes[i], epsilons[i],
                decays[i], weights1[i], weights2[i], visible, n, first_row, chunk, WIDTHS[i], BLOCK,
            )  # fmt: skip
        chunk -= WIDTHS[i]


_launch = Launcher(_step, num_warps=_WARPS)


_Factors: TypeAlias = tuple[Tensor, Tensor, Tensor, float, float, float, float, float]
"""Those of `adam.Step`."""


def step_rows(steps: Sequence[tuple[Tensor, _Factors]], rows: int, visible: Tensor | None) -> None:
    """Makes steps with their gradients, contiguous float32 tensors of N = `rows` rows, in place.

    Rows that are not in `visible` [N] (bool), where it is given, are not touched.
    """
    columns = list(zip(*[(grad, *step) for grad, step in steps], strict=True))
    widths = tuple([one.numel() // rows for one in columns[0]])
    total = sum(widths)
    shape = widths, total, _BLOCK
    aligned = [alignment_of(*tensors) for tensors in columns[:4]]
    mask = () if visible is None else (visible,)
    kind = columns[0][0].get_device(), *aligned, shape, alignment_of(*mask)
    grid = triton.cdiv(rows, _BLOCK) * total, 1, 1
    _launch(kind, grid, *columns, visible, rows, *shape)
