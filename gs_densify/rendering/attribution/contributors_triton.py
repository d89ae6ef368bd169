"""The top contributor of each pixel in one Triton kernel, for CUDA.

A program has the pixels of one tile and walks along the tile's list, front to back, as gsplat's
forward kernel does; every `_CHUNK` Gaussians it looks whether all of its pixels have ended. A
transmittance of 0 marks a pixel that has ended or lies beyond the image's edge.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from gs_densify.rendering.reference.compositing import ALPHA_MAX, TRANSMITTANCE_MIN
from gs_densify.rendering.reference.projection import ALPHA_MIN
from gs_densify.rendering.reference.tiles import TileLists

_CHUNK = 8
_WARPS = 2


@triton.jit
def _contributors(
    means2d, conics, opacities, offsets, flatten_ids, pixel_map,
    ids, weights, sums, pixels, distances, mapped,
    n_tiles, n_pairs, tile_width, tile_height, width, height, alpha_min, alpha_max, rest_min,
    S: tl.constexpr, WITH_SUMS: tl.constexpr, WITH_MAP: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """Writes ids and weights [C, H, W]; adds to sums, pixels, distances and mapped [R]."""
    tile = tl.program_id(0)
    place = tile % (tile_width * tile_height)
    lane = tl.arange(0, S * S)
    column = (place % tile_width) * S + lane % S
    row = (place // tile_width) * S + lane // S
    inside = (column < width) & (row < height)
    dtype: tl.constexpr = weights.dtype.element_ty
    x, y = column.to(dtype) + 0.5, row.to(dtype) + 0.5
    rest = tl.where(inside, 1.0, 0.0).to(dtype)
    best = tl.zeros([S * S], dtype)
    best_id = tl.full([S * S], -1, tl.int32)
    target = (tile // (tile_width * tile_height)) * width * height + row * width + column
    if WITH_MAP:
        value = tl.load(pixel_map + target, mask=inside, other=0.0)
    begin = tl.load(offsets + tile)
    end = tl.load(offsets + tile + 1, mask=tile + 1 < n_tiles, other=n_pairs)
    while begin < end:
        # Unrolled, so that the loads of a chunk do not wait for one another.
        for i in tl.static_range(CHUNK):
            is_listed = begin + i < end
            k = tl.load(flatten_ids + begin + i, mask=is_listed, other=0)
            dx = tl.load(means2d + 2 * k, mask=is_listed, other=0.0) - x
            dy = tl.load(means2d + 2 * k + 1, mask=is_listed, other=0.0) - y
            xx = tl.load(conics + 3 * k, mask=is_listed, other=0.0)
            xy = tl.load(conics + 3 * k + 1, mask=is_listed, other=0.0)
            yy = tl.load(conics + 3 * k + 2, mask=is_listed, other=0.0)
            opacity = tl.load(opacities + k, mask=is_listed, other=0.0)
            sigma = 0.5 * (xx * dx * dx + yy * dy * dy) + xy * dx * dy
            alpha = tl.minimum(alpha_max, opacity * tl.exp(-sigma))
            counts = (sigma >= 0) & (alpha >= alpha_min)
            behind = rest * (1 - alpha)
            is_end = counts & (behind <= rest_min)
            weight = tl.where(counts & (behind > rest_min), alpha * rest, 0.0)
            rest = tl.where(is_end, 0.0, tl.where(counts, behind, rest))
            is_better = weight > best
            best = tl.where(is_better, weight, best)
            best_id = tl.where(is_better, k, best_id)
            if WITH_SUMS:
                drawn = tl.sum((weight > 0).to(tl.int32), axis=0)
                tl.atomic_add(sums + k, tl.sum(weight, axis=0), mask=drawn > 0)
                tl.atomic_add(pixels + k, drawn, mask=drawn > 0)
            if WITH_MAP:
                distance = tl.where(weight > 0, tl.sqrt(dx * dx + dy * dy), 0.0)
                on_map = tl.where(weight > 0, value, 0.0)
                tl.atomic_add(distances + k, tl.sum(distance, axis=0), mask=drawn > 0)
                tl.atomic_add(mapped + k, tl.sum(on_map, axis=0), mask=drawn > 0)
        begin = tl.where(tl.max(rest, axis=0) > 0, begin + CHUNK, end)
    tl.store(ids + target, best_id, mask=inside)
    tl.store(weights + target, best, mask=inside)


def contributors_triton(
    rows: tuple[Tensor, Tensor, Tensor],
    tiles: TileLists,
    width: int,
    height: int,
    *,
    with_sums: bool = False,
    pixel_map: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Is `contributors.contributors_torch`; the tile's side must be a power of two."""
    means2d, conics, opacities = (value.contiguous() for value in rows)
    offsets = tiles.isect_offsets.contiguous()
    n_images = offsets.numel() // (tiles.tile_width * tiles.tile_height)
    weights = means2d.new_empty(n_images, height, width)
    ids = torch.empty(weights.shape, dtype=torch.int32, device=weights.device)
    sums = means2d.new_zeros(len(means2d) if with_sums else 0)
    pixels = torch.zeros(len(sums), dtype=torch.int32, device=weights.device)
    distances = means2d.new_zeros(0 if pixel_map is None else len(means2d))
    mapped = torch.zeros_like(distances)
    values = weights if pixel_map is None else pixel_map.to(weights.dtype).contiguous()
    _contributors[(offsets.numel(),)](
        means2d, conics, opacities, offsets, tiles.flatten_ids, values,
        ids, weights, sums, pixels, distances, mapped,
        offsets.numel(), len(tiles.flatten_ids), tiles.tile_width, tiles.tile_height,
        width, height, ALPHA_MIN, ALPHA_MAX, TRANSMITTANCE_MIN,
        S=tiles.tile_size, WITH_SUMS=with_sums, WITH_MAP=pixel_map is not None, CHUNK=_CHUNK,
        num_warps=_WARPS,
    )  # fmt: skip
    return ids.long(), weights, sums, pixels.long(), distances, mapped
