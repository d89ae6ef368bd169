"""Error and edge maps of photos in two Triton kernels, for CUDA: the torch ones launch fifty.

Images are rows of W * 3 values. One kernel blurs five products along the rows with SSIM's window,
the next blurs them down the columns and forms the maps. At the border images go on with their last
row or column, as in `maps.error_map` and `edges.edge_map`, which are their references.
"""

import triton
import triton.language as tl
from torch import Tensor

from gs_densify.kernels import Launcher, alignment_of

_BLOCK = 256


@triton.jit
def _kept(index, size):
    """Returns the nearest index inside."""
    return tl.minimum(tl.maximum(index, 0), size - 1)


@triton.jit
def _blur_rows(a, b, out, width, WINDOW: tl.constexpr, BLOCK: tl.constexpr):
    """Rows of a, b, a*a, b*b, a*b, blurred: out [C*H, 5, W*3]."""
    row = 3 * width
    y = tl.program_id(0).to(tl.int64)
    x = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = x < row
    sa = tl.zeros([BLOCK], a.dtype.element_ty)
    sb, saa, sbb, sab = sa, sa, sa, sa
    for i in tl.static_range(len(WINDOW)):
        source = y * row + 3 * _kept(x // 3 + i - len(WINDOW) // 2, width) + x % 3
        va = tl.load(a + source, mask=inside, other=0.0)
        vb = tl.load(b + source, mask=inside, other=0.0)
        wa, wb = WINDOW[i] * va, WINDOW[i] * vb
        sa += wa
        sb += wb
        saa += wa * va
        sbb += wb * vb
        sab += wa * vb
    target = out + 5 * y * row + x
    tl.store(target, sa, mask=inside)
    tl.store(target + row, sb, mask=inside)
    tl.store(target + 2 * row, saa, mask=inside)
    tl.store(target + 3 * row, sbb, mask=inside)
    tl.store(target + 4 * row, sab, mask=inside)


@triton.jit
def _grey(line, column, width, inside, LUMA: tl.constexpr):
    """Returns luma of the pixels in `column` of the row that begins at `line`."""
    pixel = line + 3 * _kept(column, width)
    red = tl.load(pixel, mask=inside, other=0.0)
    green = tl.load(pixel + 1, mask=inside, other=0.0)
    blue = tl.load(pixel + 2, mask=inside, other=0.0)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


@triton.jit
def _maps(
    rows, a, b, out, height, width, SSIM_WEIGHT: tl.constexpr, C1: tl.constexpr, C2: tl.constexpr,
    LUMA: tl.constexpr, WINDOW: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Computes the photometric error of a by b, and Sobel's magnitude of b: out [2, C*H, W]."""
    row = 3 * width
    y = tl.program_id(0) % height
    first = (tl.program_id(0) - y).to(tl.int64)  # of the image's rows
    x = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = x < width
    l1 = tl.zeros([BLOCK], a.dtype.element_ty)
    dissimilarity = l1
    for c in range(3):  # unrolled it takes five times as long to compile
        here = (first + y) * row + 3 * x + c
        va = tl.load(a + here, mask=inside, other=0.0)
        l1 += tl.abs(va - tl.load(b + here, mask=inside, other=0.0)) / 3
        ma = tl.zeros([BLOCK], a.dtype.element_ty)
        mb, maa, mbb, mab = ma, ma, ma, ma
        for i in tl.static_range(len(WINDOW)):
            line = first + _kept(y + i - len(WINDOW) // 2, height)
            source = rows + 5 * line * row + 3 * x + c
            ma += WINDOW[i] * tl.load(source, mask=inside, other=0.0)
            mb += WINDOW[i] * tl.load(source + row, mask=inside, other=0.0)
            maa += WINDOW[i] * tl.load(source + 2 * row, mask=inside, other=0.0)
            mbb += WINDOW[i] * tl.load(source + 3 * row, mask=inside, other=0.0)
            mab += WINDOW[i] * tl.load(source + 4 * row, mask=inside, other=0.0)
        luminance = (2 * ma * mb + C1) / (ma * ma + mb * mb + C1)
        structure = (2 * (mab - ma * mb) + C2) / (maa - ma * ma + mbb - mb * mb + C2)
        dissimilarity += (1 - luminance * structure) / 3
    target = out + (first + y) * width + x
    tl.store(target, (1 - SSIM_WEIGHT) * l1 + SSIM_WEIGHT * dissimilarity, mask=inside)

    above = b + (first + _kept(y - 1, height)) * row
    below = b + (first + _kept(y + 1, height)) * row
    level = b + (first + y) * row
    nw = _grey(above, x - 1, width, inside, LUMA)
    ne = _grey(above, x + 1, width, inside, LUMA)
    sw = _grey(below, x - 1, width, inside, LUMA)
    se = _grey(below, x + 1, width, inside, LUMA)
    north, south = _grey(above, x, width, inside, LUMA), _grey(below, x, width, inside, LUMA)
    west, east = _grey(level, x - 1, width, inside, LUMA), _grey(level, x + 1, width, inside, LUMA)
    down = (sw + 2 * south + se - nw - 2 * north - ne) / 8
    across = (ne + 2 * east + se - nw - 2 * west - sw) / 8
    magnitude = tl.sqrt(down * down + across * across)
    tl.store(target + tl.num_programs(0).to(tl.int64) * width, magnitude, mask=inside)


_launch_blur = Launcher(_blur_rows)
_launch_maps = Launcher(_maps)


def error_and_edges(
    render: Tensor,
    image: Tensor,
    *,
    ssim_weight: float,
    window: tuple[float, ...],
    constants: tuple[float, float],
    luma: tuple[float, float, float],
) -> tuple[Tensor, Tensor]:
    """Returns `error_map` of two [C,H,W,3] in float32, `edge_map` of the second: [C,H,W]."""
    a, b = render.contiguous(), image.contiguous()
    n_images, height, width, _ = a.shape
    lines = n_images * height
    rows = a.new_empty(lines, 5, 3 * width)
    kind = a.get_device(), height, width, window, alignment_of(a, b)
    _launch_blur(kind, (lines, -(-3 * width // _BLOCK), 1), a, b, rows, width, window, _BLOCK)
    out = a.new_empty(2, n_images, height, width)
    _launch_maps(
        (kind, ssim_weight, constants, luma), (lines, -(-width // _BLOCK), 1),
        rows, a, b, out, height, width, ssim_weight, *constants, luma, window, _BLOCK,
    )  # fmt: skip
    error, edges = out.unbind()
    return error, edges
