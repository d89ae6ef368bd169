"""SH colours and their gradients, a Triton kernel each way, for CUDA.

In place of a concatenation of sh0 and shN, gsplat's SH kernel, an offset and a clamp, and of four
operations on the way back: for a million Gaussians the concatenation and its inverse alone move
0.7 GB a step, and with several cameras gsplat's way copies all coefficients for each. Gaussians
that a camera does not draw are not read.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from gs_densify.model import sh

_BLOCK = 128
_REST = 64  # columns of a tile that has the 3 * 15 values of a row of shN

C0 = tl.constexpr(sh.C0)
C1 = tl.constexpr(sh.C1)
C2_0 = tl.constexpr(sh.C2_0)
C2_2 = tl.constexpr(sh.C2_2)
C3_0 = tl.constexpr(sh.C3_0)
C3_1 = tl.constexpr(sh.C3_1)
C3_2 = tl.constexpr(sh.C3_2)
C3_3 = tl.constexpr(sh.C3_3)


@triton.jit
def _direction(means, centre, rows, mask):
    """Returns the unit direction from the camera's centre, and one over the distance."""
    x = tl.load(means + 3 * rows, mask=mask, other=0.0) - tl.load(centre)
    y = tl.load(means + 3 * rows + 1, mask=mask, other=0.0) - tl.load(centre + 1)
    z = tl.load(means + 3 * rows + 2, mask=mask, other=0.0) - tl.load(centre + 2)
    x = tl.where(mask, x, 1.0)  # any direction will do where nothing is drawn, if it is finite
    inverse = 1.0 / tl.sqrt(x * x + y * y + z * z)
    return x * inverse, y * inverse, z * inverse, inverse


@triton.jit
def _term(r, g, b, basis, row, K: tl.constexpr, mask):
    """Returns the colour plus basis times the K-th coefficient of shN."""
    r += basis * tl.load(row + 3 * K, mask=mask, other=0.0)
    g += basis * tl.load(row + 3 * K + 1, mask=mask, other=0.0)
    b += basis * tl.load(row + 3 * K + 2, mask=mask, other=0.0)
    return r, g, b


@triton.jit
def _pull(vx, vy, vz, dx, dy, dz, vr, vg, vb, row, K: tl.constexpr, mask):
    """Returns the gradient of the direction plus (dx, dy, dz), the K-th basis' own, times its
    weight.
    """
    weight = vr * tl.load(row + 3 * K, mask=mask, other=0.0)
    weight += vg * tl.load(row + 3 * K + 1, mask=mask, other=0.0)
    weight += vb * tl.load(row + 3 * K + 2, mask=mask, other=0.0)
    return vx + weight * dx, vy + weight * dy, vz + weight * dz


@triton.jit
def _is_drawn(radii, rows, inside):
    across = tl.load(radii + 2 * rows, mask=inside, other=0)
    down = tl.load(radii + 2 * rows + 1, mask=inside, other=0)
    return inside & (across > 0) & (down > 0)


@triton.jit(do_not_specialize=["count"])
def _colors(
    means, centres, sh0, shN, radii, out, count, stride,
    DEGREE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Returns RGB [C, N, 3], at least 0; 0 where the Gaussian is not drawn."""
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    camera = tl.program_id(1)
    inside = rows < count
    mask = _is_drawn(radii + 2 * camera * count, rows, inside)
    x, y, z, _ = _direction(means, centres + 3 * camera, rows, mask)
    r = C0 * tl.load(sh0 + 3 * rows, mask=mask, other=0.0) + 0.5
    g = C0 * tl.load(sh0 + 3 * rows + 1, mask=mask, other=0.0) + 0.5
    b = C0 * tl.load(sh0 + 3 * rows + 2, mask=mask, other=0.0) + 0.5
    row = shN + rows * stride
    r, g, b = _term(r, g, b, -C1 * y, row, 0, mask)
    r, g, b = _term(r, g, b, C1 * z, row, 1, mask)
    r, g, b = _term(r, g, b, -C1 * x, row, 2, mask)
    if DEGREE >= 2:
        r, g, b = _term(r, g, b, C2_2 * x * y, row, 3, mask)
        r, g, b = _term(r, g, b, -C2_2 * y * z, row, 4, mask)
        r, g, b = _term(r, g, b, C2_0 * (3 * z * z - 1), row, 5, mask)
        r, g, b = _term(r, g, b, -C2_2 * x * z, row, 6, mask)
        r, g, b = _term(r, g, b, 0.5 * C2_2 * (x * x - y * y), row, 7, mask)
    if DEGREE >= 3:
        r, g, b = _term(r, g, b, -C3_3 * y * (3 * x * x - y * y), row, 8, mask)
        r, g, b = _term(r, g, b, C3_2 * x * y * z, row, 9, mask)
        r, g, b = _term(r, g, b, -C3_1 * y * (5 * z * z - 1), row, 10, mask)
        r, g, b = _term(r, g, b, C3_0 * z * (5 * z * z - 3), row, 11, mask)
        r, g, b = _term(r, g, b, -C3_1 * x * (5 * z * z - 1), row, 12, mask)
        r, g, b = _term(r, g, b, 0.5 * C3_2 * z * (x * x - y * y), row, 13, mask)
        r, g, b = _term(r, g, b, -C3_3 * x * (x * x - 3 * y * y), row, 14, mask)
    target = out + 3 * (camera * count + rows)
    tl.store(target, tl.where(mask & (r > 0), r, 0.0), mask=inside)
    tl.store(target + 1, tl.where(mask & (g > 0), g, 0.0), mask=inside)
    tl.store(target + 2, tl.where(mask & (b > 0), b, 0.0), mask=inside)


@triton.jit
def _basis_of(k, x, y, z, DEGREE: tl.constexpr):
    """Returns the basis function that multiplies coefficient k [1, J] of shN, at directions [BLOCK,
    1].
    """
    value = tl.where(k == 0, -C1 * y, tl.where(k == 1, C1 * z, -C1 * x))
    if DEGREE >= 2:
        value = tl.where(k == 3, C2_2 * x * y, value)
        value = tl.where(k == 4, -C2_2 * y * z, value)
        value = tl.where(k == 5, C2_0 * (3 * z * z - 1), value)
        value = tl.where(k == 6, -C2_2 * x * z, value)
        value = tl.where(k == 7, 0.5 * C2_2 * (x * x - y * y), value)
    if DEGREE >= 3:
        value = tl.where(k == 8, -C3_3 * y * (3 * x * x - y * y), value)
        value = tl.where(k == 9, C3_2 * x * y * z, value)
        value = tl.where(k == 10, -C3_1 * y * (5 * z * z - 1), value)
        value = tl.where(k == 11, C3_0 * z * (5 * z * z - 3), value)
        value = tl.where(k == 12, -C3_1 * x * (5 * z * z - 1), value)
        value = tl.where(k == 13, 0.5 * C3_2 * z * (x * x - y * y), value)
        value = tl.where(k == 14, -C3_3 * x * (x * x - 3 * y * y), value)
    return tl.where(k < (DEGREE + 1) * (DEGREE + 1) - 1, value, 0.0)


@triton.jit
def _pulled(x, y, z, vr, vg, vb, row, mask, DEGREE: tl.constexpr):
    """Returns the gradient of the unit direction."""
    o = tl.zeros_like(x)
    vx, vy, vz = _pull(o, o, o, o, o - C1, o, vr, vg, vb, row, 0, mask)
    vx, vy, vz = _pull(vx, vy, vz, o, o, o + C1, vr, vg, vb, row, 1, mask)
    vx, vy, vz = _pull(vx, vy, vz, o - C1, o, o, vr, vg, vb, row, 2, mask)
    if DEGREE >= 2:
        a: tl.constexpr = C2_2
        vx, vy, vz = _pull(vx, vy, vz, a * y, a * x, o, vr, vg, vb, row, 3, mask)
        vx, vy, vz = _pull(vx, vy, vz, o, -a * z, -a * y, vr, vg, vb, row, 4, mask)
        vx, vy, vz = _pull(vx, vy, vz, o, o, 6 * C2_0 * z, vr, vg, vb, row, 5, mask)
        vx, vy, vz = _pull(vx, vy, vz, -a * z, o, -a * x, vr, vg, vb, row, 6, mask)
        vx, vy, vz = _pull(vx, vy, vz, a * x, -a * y, o, vr, vg, vb, row, 7, mask)
    if DEGREE >= 3:
        zz, d = 5 * z * z - 1, x * x - y * y
        vx, vy, vz = _pull(
            vx, vy, vz, -6 * C3_3 * x * y, -3 * C3_3 * d, o, vr, vg, vb, row, 8, mask
        )
        vx, vy, vz = _pull(
            vx, vy, vz, C3_2 * y * z, C3_2 * x * z, C3_2 * x * y, vr, vg, vb, row, 9, mask
        )
        vx, vy, vz = _pull(vx, vy, vz, o, -C3_1 * zz, -10 * C3_1 * y * z, vr, vg, vb, row, 10, mask)
        vx, vy, vz = _pull(vx, vy, vz, o, o, C3_0 * (15 * z * z - 3), vr, vg, vb, row, 11, mask)
        vx, vy, vz = _pull(vx, vy, vz, -C3_1 * zz, o, -10 * C3_1 * x * z, vr, vg, vb, row, 12, mask)
        vx, vy, vz = _pull(
            vx, vy, vz, C3_2 * x * z, -C3_2 * y * z, 0.5 * C3_2 * d, vr, vg, vb, row, 13, mask
        )
        vx, vy, vz = _pull(
            vx, vy, vz, -3 * C3_3 * d, 6 * C3_3 * x * y, o, vr, vg, vb, row, 14, mask
        )
    return vx, vy, vz


@triton.jit(do_not_specialize=["count", "n_cameras"])
def _gradients(
    means, centres, shN, radii, colors, v_colors, v_means, v_sh0, v_shN, count, stride, n_cameras,
    DEGREE: tl.constexpr, BLOCK: tl.constexpr, REST: tl.constexpr,
):  # fmt: skip
    """Gradients of means, sh0 and shN, summed over the cameras that draw the Gaussian."""
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = rows < count
    row = shN + rows * stride
    # A row of shN at a time, so that neighbouring threads write neighbouring values.
    column = tl.arange(0, REST)[None, :]
    k, channel = column // 3, column % 3
    rest = tl.zeros([BLOCK, REST], v_shN.dtype.element_ty)
    sum_r = tl.zeros([BLOCK], v_shN.dtype.element_ty)
    sum_g, sum_b, sum_x, sum_y, sum_z = sum_r, sum_r, sum_r, sum_r, sum_r
    camera = 0
    while camera < n_cameras:  # Triton's interpreter has no `range` of an argument
        mask = _is_drawn(radii + 2 * camera * count, rows, inside)
        x, y, z, inverse = _direction(means, centres + 3 * camera, rows, mask)
        seen = colors + 3 * (camera * count + rows)
        source = v_colors + 3 * (camera * count + rows)
        # A clamped channel is 0 and has no gradient.
        vr = tl.load(source, mask=mask & (tl.load(seen, mask=mask, other=0.0) > 0), other=0.0)
        vg = tl.load(
            source + 1, mask=mask & (tl.load(seen + 1, mask=mask, other=0.0) > 0), other=0.0
        )
        vb = tl.load(
            source + 2, mask=mask & (tl.load(seen + 2, mask=mask, other=0.0) > 0), other=0.0
        )
        sum_r += C0 * vr
        sum_g += C0 * vg
        sum_b += C0 * vb
        vx, vy, vz = _pulled(x, y, z, vr, vg, vb, row, mask, DEGREE)
        # Through the normalisation of the direction: only what is across it moves it.
        along = x * vx + y * vy + z * vz
        sum_x += inverse * (vx - along * x)
        sum_y += inverse * (vy - along * y)
        sum_z += inverse * (vz - along * z)
        basis = _basis_of(k, x[:, None], y[:, None], z[:, None], DEGREE)
        rest += basis * tl.where(
            channel == 0, vr[:, None], tl.where(channel == 1, vg[:, None], vb[:, None])
        )
        camera += 1
    tl.store(v_sh0 + 3 * rows, sum_r, mask=inside)
    tl.store(v_sh0 + 3 * rows + 1, sum_g, mask=inside)
    tl.store(v_sh0 + 3 * rows + 2, sum_b, mask=inside)
    tl.store(v_means + 3 * rows, sum_x, mask=inside)
    tl.store(v_means + 3 * rows + 1, sum_y, mask=inside)
    tl.store(v_means + 3 * rows + 2, sum_z, mask=inside)
    target = v_shN + rows[:, None] * stride + column
    tl.store(target, rest, mask=inside[:, None] & (column < stride))


class ViewColors(torch.autograd.Function):
    """Returns RGB [C, N, 3] as seen from `centres` [C, 3], zero where `radii` [C, N, 2] are."""

    @staticmethod
    def forward(
        ctx: Any,
        means: Tensor,
        sh0: Tensor,
        shN: Tensor,
        centres: Tensor,
        radii: Tensor,
        degree: int,
    ) -> Tensor:
        """Evaluates SH of `degree` 1 to 3.

        Raises:
            ValueError: another degree, or one whose coefficients `shN` does not hold.
        """
        if not 1 <= degree <= 3 or shN.shape[1] < (degree + 1) ** 2 - 1:
            raise ValueError(f"{shN.shape[1]} coefficients of shN do not fit SH degree {degree}")
        means, sh0, shN = means.contiguous(), sh0.contiguous(), shN.contiguous()
        centres, radii = centres.contiguous(), radii.contiguous()
        count, stride = len(means), 3 * shN.shape[1]
        colors = means.new_empty(len(centres), count, 3)
        _colors[(triton.cdiv(count, _BLOCK), len(centres))](
            means, centres, sh0, shN, radii, colors, count, stride, DEGREE=degree, BLOCK=_BLOCK
        )
        ctx.save_for_backward(means, sh0, shN, centres, radii, colors)
        ctx.degree = degree
        return colors

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        """Returns gradients of means, sh0 and shN."""
        means, sh0, shN, centres, radii, colors = ctx.saved_tensors
        v_means, v_sh0, v_shN = (torch.empty_like(value) for value in (means, sh0, shN))
        count, stride = len(means), 3 * shN.shape[1]
        _gradients[(triton.cdiv(count, _BLOCK),)](
            means, centres, shN, radii, colors, grads[0].contiguous(), v_means, v_sh0, v_shN,
            count, stride, len(centres), DEGREE=ctx.degree, BLOCK=_BLOCK, REST=_REST,
        )  # fmt: skip
        return v_means, v_sh0, v_shN, None, None, None
