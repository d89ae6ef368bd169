"""SSIM and its gradient in four Triton kernels, for CUDA.

A depthwise 11-tap convolution of float32 images takes cuDNN tens of milliseconds; this takes less
than one. Images are rows of W * C values, so that a shift by one pixel is a shift by C values and
nothing is transposed. The blur is separable: one kernel blurs five products along the rows, the
next blurs them down the columns and forms SSIM and its derivatives; the backward pass blurs the
derivatives with the mirrored window, which is the same one.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

TAPS = 11
_BLOCK = 256


@triton.jit
def _blur_products(
    a, b, window, out, height, row, row_out, plane, C: tl.constexpr, TAPS: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Rows of a, b, a*a, b*b, a*b blurred where the window fits: out [5, B*H, row_out]."""
    y = tl.program_id(0)
    x = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = x < row_out
    sa = tl.zeros([BLOCK], a.dtype.element_ty)
    sb, saa, sbb, sab = sa, sa, sa, sa
    for i in tl.static_range(TAPS):
        weight = tl.load(window + i)
        va = tl.load(a + y * row + x + i * C, mask=inside, other=0.0)
        vb = tl.load(b + y * row + x + i * C, mask=inside, other=0.0)
        wa, wb = weight * va, weight * vb
        sa += wa
        sb += wb
        saa += wa * va
        sbb += wb * vb
        sab += wa * vb
    target = out + y * row_out + x
    tl.store(target, sa, mask=inside)
    tl.store(target + plane, sb, mask=inside)
    tl.store(target + 2 * plane, saa, mask=inside)
    tl.store(target + 3 * plane, sbb, mask=inside)
    tl.store(target + 4 * plane, sab, mask=inside)


@triton.jit
def _ssim_of_blurred(
    rows, window, total, derivatives, height, height_out, row_out, plane, plane_out, c1, c2,
    NEEDS_GRAD: tl.constexpr, TAPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Sum of SSIM of each block, and its derivatives by mean(a), mean(a*a) and mean(a*b)."""
    y = tl.program_id(0)
    x = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = x < row_out
    source = rows + ((y // height_out) * height + y % height_out) * row_out + x
    ma = tl.zeros([BLOCK], rows.dtype.element_ty)
    mb, maa, mbb, mab = ma, ma, ma, ma
    for i in tl.static_range(TAPS):
        weight = tl.load(window + i)
        line = source + i * row_out
        ma += weight * tl.load(line, mask=inside, other=0.0)
        mb += weight * tl.load(line + plane, mask=inside, other=0.0)
        maa += weight * tl.load(line + 2 * plane, mask=inside, other=0.0)
        mbb += weight * tl.load(line + 3 * plane, mask=inside, other=0.0)
        mab += weight * tl.load(line + 4 * plane, mask=inside, other=0.0)
    l_top, l_bottom = 2 * ma * mb + c1, ma * ma + mb * mb + c1
    s_top, s_bottom = 2 * (mab - ma * mb) + c2, maa - ma * ma + mbb - mb * mb + c2
    luminance, structure = l_top / l_bottom, s_top / s_bottom
    ssim = tl.where(inside, luminance * structure, 0.0)
    tl.store(total + y * tl.num_programs(1) + tl.program_id(1), tl.sum(ssim, axis=0))
    if NEEDS_GRAD:
        d_ma = structure * (2 * mb - 2 * ma * luminance) / l_bottom
        d_ma += luminance * (2 * ma * structure - 2 * mb) / s_bottom
        d_maa = -luminance * structure / s_bottom
        d_mab = 2 * luminance / s_bottom
        target = derivatives + y * row_out + x
        tl.store(target, d_ma, mask=inside)
        tl.store(target + plane_out, d_maa, mask=inside)
        tl.store(target + 2 * plane_out, d_mab, mask=inside)


@triton.jit
def _spread_columns(
    derivatives, window, out, height, height_out, row_out, plane_out, plane,
    TAPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The transposed blur down the columns: out [3, B*H, row_out]."""
    y = tl.program_id(0)
    x = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = x < row_out
    image, line = y // height, y % height
    s0 = tl.zeros([BLOCK], derivatives.dtype.element_ty)
    s1, s2 = s0, s0
    for i in tl.static_range(TAPS):
        weight = tl.load(window + i)
        source_line = line - i + tl.zeros_like(x)  # masks of scalars fail in Triton 3.9
        valid = inside & (source_line >= 0) & (source_line < height_out)
        source = derivatives + (image * height_out + source_line) * row_out + x
        s0 += weight * tl.load(source, mask=valid, other=0.0)
        s1 += weight * tl.load(source + plane_out, mask=valid, other=0.0)
        s2 += weight * tl.load(source + 2 * plane_out, mask=valid, other=0.0)
    target = out + y * row_out + x
    tl.store(target, s0, mask=inside)
    tl.store(target + plane, s1, mask=inside)
    tl.store(target + 2 * plane, s2, mask=inside)


@triton.jit
def _gradient(
    spread, a, b, window, scale, out, row, row_out, plane, C: tl.constexpr, TAPS: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """The transposed blur along the rows, and the gradient of the mean SSIM by a."""
    y = tl.program_id(0)
    x = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = x < row
    s0 = tl.zeros([BLOCK], spread.dtype.element_ty)
    s1, s2 = s0, s0
    for i in tl.static_range(TAPS):
        weight = tl.load(window + i)
        column = x - i * C
        valid = inside & (column >= 0) & (column < row_out)
        source = spread + y * row_out + column
        s0 += weight * tl.load(source, mask=valid, other=0.0)
        s1 += weight * tl.load(source + plane, mask=valid, other=0.0)
        s2 += weight * tl.load(source + 2 * plane, mask=valid, other=0.0)
    va = tl.load(a + y * row + x, mask=inside, other=0.0)
    vb = tl.load(b + y * row + x, mask=inside, other=0.0)
    gradient = tl.load(scale) * (s0 + 2 * va * s1 + vb * s2)
    tl.store(out + y * row + x, gradient, mask=inside)


class FusedSSIM(torch.autograd.Function):
    """Mean SSIM [] of images [B,H,W,C], differentiable by the first."""

    @staticmethod
    def forward(
        ctx: Any, first: Tensor, second: Tensor, window: Tensor, c1: float, c2: float
    ) -> Tensor:
        """Blur, form SSIM, and keep its derivatives when a gradient will be asked for."""
        batch, height, width, channels = first.shape
        a, b = first.contiguous(), second.contiguous()
        row, row_out = width * channels, (width - TAPS + 1) * channels
        height_out = height - TAPS + 1
        blocks = triton.cdiv(row_out, _BLOCK)
        rows = a.new_empty(5, batch * height, row_out)
        _blur_products[(batch * height, blocks)](
            a, b, window, rows, height, row, row_out, rows[0].numel(),
            C=channels, TAPS=TAPS, BLOCK=_BLOCK,
        )  # fmt: skip
        needs_grad = ctx.needs_input_grad[0]
        total = a.new_empty(batch * height_out, blocks)
        derivatives = a.new_empty(3 if needs_grad else 0, batch * height_out, row_out)
        _ssim_of_blurred[(batch * height_out, blocks)](
            rows, window, total, derivatives, height, height_out, row_out,
            rows[0].numel(), batch * height_out * row_out, c1, c2,
            NEEDS_GRAD=needs_grad, TAPS=TAPS, BLOCK=_BLOCK,
        )  # fmt: skip
        ctx.save_for_backward(a, b, window, derivatives)
        ctx.count = batch * height_out * row_out
        return total.sum() / ctx.count

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        """Spread the derivatives over the pixels under each window."""
        a, b, window, derivatives = ctx.saved_tensors
        batch, height, width, channels = a.shape
        row, row_out = width * channels, (width - TAPS + 1) * channels
        height_out = height - TAPS + 1
        spread = a.new_empty(3, batch * height, row_out)
        _spread_columns[(batch * height, triton.cdiv(row_out, _BLOCK))](
            derivatives, window, spread, height, height_out, row_out,
            derivatives[0].numel(), spread[0].numel(), TAPS=TAPS, BLOCK=_BLOCK,
        )  # fmt: skip
        out = torch.empty_like(a)
        _gradient[(batch * height, triton.cdiv(row, _BLOCK))](
            spread, a, b, window, grads[0] / ctx.count, out, row, row_out,
            spread[0].numel(), C=channels, TAPS=TAPS, BLOCK=_BLOCK,
        )  # fmt: skip
        return out, None, None, None, None
