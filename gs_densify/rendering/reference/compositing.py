"""Front-to-back alpha compositing of projected Gaussians, with a backward pass written by hand.

    alpha_k = min(0.999, o_k exp(-sigma_k)),  sigma_k = 1/2 d^T conic_k d,  d = mean_k - pixel
    w_k = alpha_k T_k,  T_k = prod_{j<k} (1 - alpha_j),  image = sum_k w_k c_k,  alpha = 1 - T_end

A contribution below 1/255 is dropped, and a pixel ends before the Gaussian that would take its
transmittance to 1e-4 or less (3DGS, Kerbl et al. 2023, section 6; gsplat 1.5.3).

Pairs (pixel, Gaussian) are worked on densely, tile by tile: tiles with lists of similar length are
padded to one [tiles, pixels, K] batch, small enough to stay in cache. Only the inputs are kept for
the backward pass; alpha and T are computed again there, so that memory does not grow with the
number of pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from gs_densify.rendering.reference.projection import ALPHA_MIN
from gs_densify.rendering.reference.tiles import TileLists

ALPHA_MAX = 0.999
TRANSMITTANCE_MIN = 1e-4
# Pairs in a batch: what fits a core's cache, and what fills a GPU.
_CPU_PAIRS, _GPU_PAIRS = 2**18, 2**24


def composite(
    means2d: Tensor,
    conics: Tensor,
    colors: Tensor,
    opacities: Tensor,
    tiles: TileLists,
    width: int,
    height: int,
    *,
    absgrad: bool = False,
) -> tuple[Tensor, Tensor]:
    """Composites N Gaussians into C images of D channels.

    Args:
        means2d: [C, N, 2] centres in pixels. With `absgrad`, backward sets `means2d.absgrad`
            [C, N, 2], the sum over pixels of the absolute gradient (AbsGS, Ye et al. 2024).
        conics: [C, N, 3] upper triangle of the inverse covariance.
        colors: [C, N, D].
        opacities: [C, N].
        tiles: the lists of these Gaussians.
        width: image width in pixels.
        height: image height in pixels.
        absgrad: see `means2d`.

    Returns:
        The image [C, H, W, D] and the accumulated alpha [C, H, W, 1]. Differentiable once, in all
        tensors.
    """
    image, alpha = _Composite.apply(
        means2d, conics, colors, opacities, tiles, (width, height), absgrad
    )
    return image, alpha


@torch.no_grad()
def blending_weights(
    means2d: Tensor, conics: Tensor, opacities: Tensor, tiles: TileLists
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yields the weights w that `composite` gives, for one batch of tiles after another.

    Yields the tiles [T] of a batch, their Gaussians [T, K] front to back as indices into the C * N
    rows, and w [T, S * S, K] at the pixels of each tile, row by row; w is 0 where a list is padded.
    Tiles that nothing touches are left out.
    """
    rows = _rows(means2d, conics, opacities, means2d.new_zeros(*means2d.shape[:2], 0))
    for batch in _batches(rows, tiles):
        yield batch.tiles, batch.ids, _weights(*_transmittances(_raw_alphas(batch)))


class _Composite(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        means2d: Tensor,
        conics: Tensor,
        colors: Tensor,
        opacities: Tensor,
        tiles: TileLists,
        size: tuple[int, int],
        absgrad: bool,
    ) -> tuple[Tensor, Tensor]:
        rows = _rows(means2d, conics, opacities, colors)
        n_tiles, pixels = tiles.isect_offsets.numel(), tiles.tile_size**2
        image = colors.new_zeros(n_tiles, pixels, colors.shape[-1])
        transmittance = colors.new_ones(n_tiles, pixels)
        for batch in _batches(rows, tiles):
            alphas, behind = _transmittances(_raw_alphas(batch))
            image[batch.tiles] = _weights(alphas, behind) @ batch.colors
            transmittance[batch.tiles] = _end(behind)
        image = _from_tiles(image, tiles, size)
        rest = _from_tiles(transmittance[..., None], tiles, size)
        ctx.save_for_backward(means2d, conics, colors, opacities)
        ctx.tiles, ctx.size, ctx.absgrad = tiles, size, absgrad
        return image, 1 - rest

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v_image: Tensor, v_alpha: Tensor) -> tuple[Tensor | None, ...]:
        means2d, conics, colors, opacities = ctx.saved_tensors
        tiles: TileLists = ctx.tiles
        rows = _rows(means2d, conics, opacities, colors)
        v_image, v_alpha = _to_tiles(v_image, tiles), _to_tiles(v_alpha, tiles)
        v_rows = rows.new_zeros(rows.shape[0], rows.shape[1] + 2)
        for batch in _batches(rows, tiles):
            local = _batch_gradient(batch, v_image[batch.tiles], v_alpha[batch.tiles], ctx.absgrad)
            v_rows.index_add_(0, batch.ids.flatten(), local.flatten(0, 1))
        v_rows = v_rows.unflatten(0, means2d.shape[:2])
        v_means2d, v_conics, v_opacities, v_abs, v_colors = v_rows.split(
            [2, 3, 1, 2, colors.shape[-1]], dim=-1
        )
        if ctx.absgrad:
            means2d.absgrad = v_abs.contiguous()
        return v_means2d, v_conics, v_colors, v_opacities.squeeze(-1), None, None, None


@dataclass(frozen=True)
class _Batch:
    """T tiles with up to K Gaussians each; the places that a shorter list leaves have opacity 0.

    `x`, `y` are a Gaussian's centre from the tile's middle, and `steps` the pixels' from there.
    """

    tiles: Tensor  # [T]
    ids: Tensor  # [T, K] into the C * N rows
    x: Tensor  # [T, K]
    y: Tensor  # [T, K]
    conics: Tensor  # [T, K, 3]
    opacities: Tensor  # [T, K]
    colors: Tensor  # [T, K, D]
    steps: Tensor  # [S]


def _rows(means2d: Tensor, conics: Tensor, opacities: Tensor, colors: Tensor) -> Tensor:
    """Returns all that compositing reads of a Gaussian in one row, so that one gather fetches
    it.
    """
    return torch.cat([means2d, conics, opacities[..., None], colors], dim=-1).flatten(0, 1)


def _batches(rows: Tensor, tiles: TileLists) -> Iterator[_Batch]:
    """Groups the tiles by the length of their lists and gathers each group's Gaussians."""
    starts = tiles.isect_offsets.flatten().long()
    counts = torch.diff(starts, append=starts.new_tensor([tiles.flatten_ids.shape[0]]))
    counts, by_count = torch.sort(counts, descending=True)
    side = tiles.tile_size
    steps = torch.arange(side, device=rows.device, dtype=rows.dtype) + (0.5 - side / 2)
    budget = (_GPU_PAIRS if rows.is_cuda else _CPU_PAIRS) // side**2
    for begin, end, longest in _groups(counts.tolist(), budget):
        chosen = by_count[begin:end]
        place = torch.arange(longest, device=rows.device)
        filled = place < counts[begin:end, None]
        slots = torch.where(filled, starts[chosen, None] + place, 0)
        ids = tiles.flatten_ids[slots].long()
        own = rows[ids]
        tile = chosen % (tiles.tile_width * tiles.tile_height)
        column = tile % tiles.tile_width
        row = torch.div(tile, tiles.tile_width, rounding_mode="floor")
        yield _Batch(
            tiles=chosen,
            ids=ids,
            x=own[..., 0] - (column * side + side / 2)[:, None],
            y=own[..., 1] - (row * side + side / 2)[:, None],
            conics=own[..., 2:5],
            opacities=own[..., 5] * filled,
            colors=own[..., 6:],
            steps=steps,
        )


def _groups(counts: list[int], budget: int) -> Iterator[tuple[int, int, int]]:
    """Splits descending counts into runs (begin, end, longest) that pad little and fit the budget.

    A list shorter than half of the run's longest begins a new run; empty lists are left out.
    """
    begin = 0
    while begin < len(counts) and counts[begin] > 0:
        longest = counts[begin]
        limit = min(len(counts), begin + max(1, budget // longest))
        end = begin + 1
        while end < limit and 2 * counts[end] >= longest:
            end += 1
        yield begin, end, longest
        begin = end


def _raw_alphas(batch: _Batch) -> Tensor:
    """Returns o exp(-sigma) where it counts, else 0: [T, S * S, K], before the clamp at 0.999."""
    dx = (batch.x[:, None] - batch.steps[:, None])[:, None]  # [T, 1, S, K]
    dy = (batch.y[:, None] - batch.steps[:, None])[:, :, None]  # [T, S, 1, K]
    xx, xy, yy = batch.conics[:, None, None].unbind(-1)
    sigma = (0.5 * xx * dx * dx) + (0.5 * yy * dy * dy)
    sigma = sigma.addcmul_(xy * dy, dx).flatten(1, 2)
    info = torch.finfo(sigma.dtype)
    # sigma < 0 can only be rounding, of a needle's conic: dropped, as in gsplat.
    torch.threshold_(sigma, -info.tiny, torch.inf)
    raw = sigma.neg_().exp_().mul_(batch.opacities[:, None])
    # One ulp lower, since `threshold` keeps what is strictly above.
    return torch.threshold_(raw, ALPHA_MIN * (1 - info.eps), 0.0)


def _transmittances(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Alphas and the transmittance behind each Gaussian, [T, P, K] each."""
    alphas = raw.clamp_max(ALPHA_MAX)
    return alphas, torch.cumprod(1 - alphas, dim=-1)


def _weights(alphas: Tensor, behind: Tensor) -> Tensor:
    """Returns w [T, P, K]; written over `alphas`."""
    alphas[..., 1:] *= behind[..., :-1]
    # The transmittance never rises, so the first Gaussian at the bound ends the pixel.
    return _where_above(alphas, behind, TRANSMITTANCE_MIN)


def _end(behind: Tensor) -> Tensor:
    """Returns the transmittance left behind a pixel's last contribution [T, P]."""
    return F.threshold(behind, TRANSMITTANCE_MIN, 1.0).amin(-1)


def _where_above(values: Tensor, test: Tensor, bound: float) -> Tensor:
    """Returns `values` where test > bound, else 0; several times faster than `where`."""
    masked: Tensor = torch.ops.aten.threshold_backward(values, test, bound)
    return masked


def _batch_gradient(batch: _Batch, v_image: Tensor, v_alpha: Tensor, absgrad: bool) -> Tensor:
    """Returns the gradient of each row of the batch: [T, K, 2 + 3 + 1 + 2 + D].

    In order: mean, conic, opacity, absolute gradient of the mean, channels. `v_image` [T, P, D]
    and `v_alpha` [T, P, 1] are the gradients of the channels and of the accumulated alpha.
    """
    raw = _raw_alphas(batch)
    alphas, behind = _transmittances(raw)
    before = torch.cat([torch.ones_like(behind[..., :1]), behind[..., :-1]], dim=-1)
    weights = _where_above(alphas * before, behind, TRANSMITTANCE_MIN)
    shade = v_image @ batch.colors.mT  # [T, P, K]: c_k . dL/dpixel

    # d image / d alpha_k = c_k T_k - (all that is composited behind k) / (1 - alpha_k); the sum
    # runs from the back, where its terms are smallest.
    unseen = torch.cat([(weights * shade)[..., 1:], -v_alpha * _end(behind)[..., None]], dim=-1)
    unseen = unseen.flip(-1).cumsum(-1).flip(-1)
    v_alphas = shade.mul_(before).sub_(unseen.div_(1 - alphas))
    v_alphas = _where_above(v_alphas, behind, TRANSMITTANCE_MIN)
    # alpha dL/dalpha, zero where the clamp holds; it is minus the gradient of sigma.
    slope = _where_above(
        v_alphas.mul_(raw), raw.neg(), -ALPHA_MAX * (1 + torch.finfo(raw.dtype).eps)
    )
    return torch.cat([_shape_gradient(batch, slope, absgrad), weights.mT @ v_image], dim=-1)


def _shape_gradient(batch: _Batch, slope: Tensor, absgrad: bool) -> Tensor:
    """Returns the gradient of mean, conic and opacity, and the absolute one, [T, K, 8].

    It is from -dL/dsigma [T, P, K].

    All but the absolute one are moments of the slope over the tile, shifted to the mean.
    """
    x, y = batch.x, batch.y
    xx, xy, yy = batch.conics.unbind(-1)
    side = batch.steps.shape[0]
    px, py = batch.steps.repeat(side), batch.steps.repeat_interleave(side)
    basis = torch.stack([torch.ones_like(px), px, py, px * px, px * py, py * py])
    m, mx, my, mxx, mxy, myy = (basis @ slope).unbind(1)  # [T, K] each
    dx, dy = x * m - mx, y * m - my
    columns = [
        -(xx * dx + xy * dy),
        -(xy * dx + yy * dy),
        -0.5 * (x * (dx - mx) + mxx),
        -(x * dy - y * mx + mxy),
        -0.5 * (y * (dy - my) + myy),
        # The padding's opacity is 0, and so is its slope.
        m / batch.opacities.clamp_min(ALPHA_MIN),
    ]
    if not absgrad:
        return torch.stack([*columns, torch.zeros_like(m), torch.zeros_like(m)], dim=-1)
    ax = (x[:, None] - px[:, None]), (y[:, None] - py[:, None])
    along_x = ((xx[:, None] * ax[0] + xy[:, None] * ax[1]) * slope).abs().sum(1)
    along_y = ((xy[:, None] * ax[0] + yy[:, None] * ax[1]) * slope).abs().sum(1)
    return torch.stack([*columns, along_x, along_y], dim=-1)


def _from_tiles(values: Tensor, tiles: TileLists, size: tuple[int, int]) -> Tensor:
    """Returns [C * tiles, S * S, D] -> [C, H, W, D], cropped."""
    side, channels = tiles.tile_size, values.shape[-1]
    grid = values.view(-1, tiles.tile_height, tiles.tile_width, side, side, channels)
    return grid.transpose(2, 3).flatten(3, 4).flatten(1, 2)[:, : size[1], : size[0]].contiguous()


def _to_tiles(image: Tensor, tiles: TileLists) -> Tensor:
    """Returns [C, H, W, D] -> [C * tiles, S * S, D], zero beyond the image's edge."""
    side = tiles.tile_size
    missing = (
        tiles.tile_width * side - image.shape[2],
        tiles.tile_height * side - image.shape[1],
    )
    padded = F.pad(image, (0, 0, 0, missing[0], 0, missing[1]))
    grid = padded.unflatten(2, (tiles.tile_width, side)).unflatten(1, (tiles.tile_height, side))
    return grid.transpose(2, 3).flatten(3, 4).flatten(0, 2)
