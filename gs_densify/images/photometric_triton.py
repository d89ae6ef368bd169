"""The photometric loss and its gradient in four Triton kernels, for CUDA.

A depthwise 11-tap convolution of float32 images takes cuDNN tens of milliseconds; this takes less
than one. Images are rows of W * C values, so that a shift by one pixel is a shift by C values and
nothing is transposed. The blur is separable: one kernel blurs five products along the rows, the
next blurs them down the columns and forms the loss and the derivatives of SSIM; the backward pass
blurs the derivatives with the mirrored window, which is the same one. L1 is done on the way, and
every kernel has the same grid: a program has `_BLOCK` values of one of the B * H rows.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from gs_densify.kernels import Launcher, alignment_of

_BLOCK = 256


@triton.jit
def _blur_rows(a, b, out, row, C: tl.constexpr, WINDOW: tl.constexpr, BLOCK: tl.constexpr):
    """Rows of a, b, a*a, b*b, a*b blurred where the window fits: out [B*H, 5, row_out]."""
    y = tl.program_id(0).to(tl.int64)
    x = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    row_out = row - (len(WINDOW) - 1) * C
    inside = x < row_out
    sa = tl.zeros([BLOCK], a.dtype.element_ty)
    sb, saa, sbb, sab = sa, sa, sa, sa
    for i in tl.static_range(len(WINDOW)):
        va = tl.load(a + y * row + x + i * C, mask=inside, other=0.0)
        vb = tl.load(b + y * row + x + i * C, mask=inside, other=0.0)
        wa, wb = WINDOW[i] * va, WINDOW[i] * vb
        sa += wa
        sb += wb
        saa += wa * va
        sbb += wb * vb
        sab += wa * vb
    target = out + 5 * y * row_out + x
    tl.store(target, sa, mask=inside)
    tl.store(target + row_out, sb, mask=inside)
    tl.store(target + 2 * row_out, saa, mask=inside)
    tl.store(target + 3 * row_out, sbb, mask=inside)
    tl.store(target + 4 * row_out, sab, mask=inside)


@triton.jit
def _value_weights(
    weights, height, row, dtype: tl.constexpr, C: tl.constexpr, WINDOW: tl.constexpr
):
    """Returns the weight of each value of this program's image, and of each value whose window
    fits.
    """
    weight = tl.load(weights + tl.program_id(0) // height)
    values = (height * row).to(dtype)
    windows = ((height - len(WINDOW) + 1) * (row - (len(WINDOW) - 1) * C)).to(dtype)
    return weight / values, weight / windows


@triton.jit
def _loss_of_blurred(
    rows, a, b, weights, partials, derivatives, height, row, C1: tl.constexpr, C2: tl.constexpr,
    SSIM_WEIGHT: tl.constexpr, NEEDS_GRAD: tl.constexpr, C: tl.constexpr, WINDOW: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Computes each program's share of L1, of 1 - SSIM and of the loss: partials [3, programs].

    derivatives [B*H, 3, row_out]: of SSIM by the blurred a, a*a and a*b.
    """
    y = tl.program_id(0).to(tl.int64)
    x = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    dtype: tl.constexpr = a.dtype.element_ty
    of_value, of_window = _value_weights(weights, height, row, dtype, C, WINDOW)
    va = tl.load(a + y * row + x, mask=x < row, other=0.0)
    vb = tl.load(b + y * row + x, mask=x < row, other=0.0)
    l1 = of_value * tl.sum(tl.abs(va - vb), axis=0)

    row_out = row - (len(WINDOW) - 1) * C
    line = tl.program_id(0) % height + tl.zeros_like(x)  # masks of scalars fail in Triton 3.9
    inside = (x < row_out) & (line <= height - len(WINDOW))
    source = rows + 5 * y * row_out + x
    ma = tl.zeros([BLOCK], dtype)
    mb, maa, mbb, mab = ma, ma, ma, ma
    for i in tl.static_range(len(WINDOW)):
        below = source + 5 * i * row_out
        ma += WINDOW[i] * tl.load(below, mask=inside, other=0.0)
        mb += WINDOW[i] * tl.load(below + row_out, mask=inside, other=0.0)
        maa += WINDOW[i] * tl.load(below + 2 * row_out, mask=inside, other=0.0)
        mbb += WINDOW[i] * tl.load(below + 3 * row_out, mask=inside, other=0.0)
        mab += WINDOW[i] * tl.load(below + 4 * row_out, mask=inside, other=0.0)
    l_top, l_bottom = 2 * ma * mb + C1, ma * ma + mb * mb + C1
    s_top, s_bottom = 2 * (mab - ma * mb) + C2, maa - ma * ma + mbb - mb * mb + C2
    luminance, structure = l_top / l_bottom, s_top / s_bottom
    dissimilarity = of_window * tl.sum(tl.where(inside, 1 - luminance * structure, 0.0), axis=0)

    share = partials + y * tl.num_programs(1) + tl.program_id(1)
    programs = tl.num_programs(0) * tl.num_programs(1)
    tl.store(share, l1)
    tl.store(share + programs, dissimilarity)
    tl.store(share + 2 * programs, (1 - SSIM_WEIGHT) * l1 + SSIM_WEIGHT * dissimilarity)
    if NEEDS_GRAD:
        d_ma = structure * (2 * mb - 2 * ma * luminance) / l_bottom
        d_ma += luminance * (2 * ma * structure - 2 * mb) / s_bottom
        target = derivatives + 3 * y * row_out + x
        tl.store(target, d_ma, mask=inside)
        tl.store(target + row_out, -luminance * structure / s_bottom, mask=inside)
        tl.store(target + 2 * row_out, 2 * luminance / s_bottom, mask=inside)


@triton.jit
def _spread_columns(
    derivatives, out, height, row, C: tl.constexpr, WINDOW: tl.constexpr, BLOCK: tl.constexpr
):
    """Applies the transposed blur down the columns: out [B*H, 3, row_out]."""
    y = tl.program_id(0).to(tl.int64)
    x = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    row_out = row - (len(WINDOW) - 1) * C
    line = tl.program_id(0) % height + tl.zeros_like(x)  # masks of scalars fail in Triton 3.9
    source = derivatives + 3 * y * row_out + x
    s0 = tl.zeros([BLOCK], derivatives.dtype.element_ty)
    s1, s2 = s0, s0
    for i in tl.static_range(len(WINDOW)):
        valid = (x < row_out) & (line >= i) & (line - i <= height - len(WINDOW))
        above = source - 3 * i * row_out
        s0 += WINDOW[i] * tl.load(above, mask=valid, other=0.0)
        s1 += WINDOW[i] * tl.load(above + row_out, mask=valid, other=0.0)
        s2 += WINDOW[i] * tl.load(above + 2 * row_out, mask=valid, other=0.0)
    target = out + 3 * y * row_out + x
    tl.store(target, s0, mask=x < row_out)
    tl.store(target + row_out, s1, mask=x < row_out)
    tl.store(target + 2 * row_out, s2, mask=x < row_out)


@triton.jit
def _gradient(
    spread, a, b, weights, grad_loss, out, height, row, SSIM_WEIGHT: tl.constexpr, C: tl.constexpr,
    WINDOW: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Applies the transposed blur along the rows, and the gradient of the loss by a."""
    y = tl.program_id(0).to(tl.int64)
    x = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    row_out = row - (len(WINDOW) - 1) * C
    s0 = tl.zeros([BLOCK], spread.dtype.element_ty)
    s1, s2 = s0, s0
    for i in tl.static_range(len(WINDOW)):
        column = x - i * C
        valid = (column >= 0) & (column < row_out)
        source = spread + 3 * y * row_out + column
        s0 += WINDOW[i] * tl.load(source, mask=valid, other=0.0)
        s1 += WINDOW[i] * tl.load(source + row_out, mask=valid, other=0.0)
        s2 += WINDOW[i] * tl.load(source + 2 * row_out, mask=valid, other=0.0)
    va = tl.load(a + y * row + x, mask=x < row, other=0.0)
    vb = tl.load(b + y * row + x, mask=x < row, other=0.0)
    dtype: tl.constexpr = a.dtype.element_ty
    of_value, of_window = _value_weights(weights, height, row, dtype, C, WINDOW)
    sign = tl.where(va > vb, 1.0, 0.0) - tl.where(va < vb, 1.0, 0.0)
    gradient = (1 - SSIM_WEIGHT) * of_value * sign
    gradient -= SSIM_WEIGHT * of_window * (s0 + 2 * va * s1 + vb * s2)
    tl.store(out + y * row + x, tl.load(grad_loss) * gradient, mask=x < row)


_launch_blur = Launcher(_blur_rows)
_launch_loss = Launcher(_loss_of_blurred)
_launch_spread = Launcher(_spread_columns)
_launch_gradient = Launcher(_gradient)


class PhotometricLoss(torch.autograd.Function):
    """Sums (1 - w) L1 + w (1 - SSIM), and both terms, over weighted images [B,H,W,C].

    Arguments: render, by which it is differentiable, image, the images' weights [B], w, the
    window's weights, and SSIM's two constants.
    """

    @staticmethod
    def forward(
        ctx: Any,
        render: Tensor,
        image: Tensor,
        weights: Tensor,
        ssim_weight: float,
        window: tuple[float, ...],
        c1: float,
        c2: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the loss, L1 and 1 - SSIM, of which the terms have no gradient."""
        a, b, weights = render.contiguous(), image.contiguous(), weights.to(render).contiguous()
        batch, height, width, channels = a.shape
        row, row_out = width * channels, (width - len(window) + 1) * channels
        grid = batch * height, -(-row // _BLOCK), 1
        shape = channels, window, _BLOCK
        kind = a.get_device(), a.dtype, b.dtype, height, row, shape, alignment_of(a, b)
        rows = a.new_empty(grid[0], 5, row_out)
        _launch_blur(kind, grid, a, b, rows, row, *shape)
        needs_grad = ctx.needs_input_grad[0]
        partials = a.new_empty(3, grid[0] * grid[1])
        derivatives = a.new_empty(grid[0] if needs_grad else 0, 3, row_out)
        _launch_loss(
            (kind, alignment_of(weights), c1, c2, ssim_weight, needs_grad), grid,
            rows, a, b, weights, partials, derivatives, height, row,
            c1, c2, ssim_weight, needs_grad, *shape,
        )  # fmt: skip
        ctx.save_for_backward(a, b, weights, derivatives)
        ctx.launch = grid, shape, ssim_weight, kind
        ctx.set_materialize_grads(False)
        l1, dissimilarity, loss = partials.sum(1).unbind()
        ctx.mark_non_differentiable(l1, dissimilarity)
        return loss, l1, dissimilarity

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Spreads the derivatives over the pixels under each window."""
        if grads[0] is None:
            return (None,) * 7
        a, b, weights, derivatives = ctx.saved_tensors
        grid, shape, ssim_weight, kind = ctx.launch
        height, row = a.shape[1], a.shape[2] * a.shape[3]
        spread, out = torch.empty_like(derivatives), torch.empty_like(a)
        _launch_spread(kind, grid, derivatives, spread, height, row, *shape)
        _launch_gradient(
            (kind, alignment_of(weights, grads[0]), ssim_weight), grid,
            spread, a, b, weights, grads[0], out, height, row, ssim_weight, *shape,
        )  # fmt: skip
        return out, None, None, None, None, None, None
