"""Which Gaussians touch which square tile of the image, front to back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TileLists:
    """The (tile, Gaussian) pairs of C images, sorted by image, tile and depth, as gsplat's.

    Attributes:
        tile_size: pixels along a side.
        tile_width: tiles in a row.
        tile_height: tiles in a column.
        tiles_per_gauss: [C, N] int32.
        flatten_ids: [I] int32 indices into the C * N projected Gaussians.
        isect_offsets: [C, tile_height, tile_width] int32, where each tile's pairs begin.
        isect_ids: [I] int64 keys: image, tile (from bit 32), bits of the float32 depth; None where
            nobody asks for them.
    """

    tile_size: int
    tile_width: int
    tile_height: int
    tiles_per_gauss: Tensor
    flatten_ids: Tensor
    isect_offsets: Tensor
    isect_ids: Tensor | None = None


def intersect_tiles(
    means2d: Tensor, radii: Tensor, depths: Tensor, width: int, height: int, tile_size: int
) -> TileLists:
    """Lists the tiles under each Gaussian's box.

    Args:
        means2d: [C, N, 2] centres in pixels.
        radii: [C, N, 2] half sizes in pixels, 0 where culled.
        depths: [C, N], positive. Ties keep the order of the Gaussians.
        width: image width in pixels.
        height: image height in pixels.
        tile_size: pixels along a tile's side.
    """
    n_images = means2d.shape[0]
    grid = (-(-width // tile_size), -(-height // tile_size))
    first, count = _tile_boxes(means2d, radii, grid, tile_size)
    owner, tile_id = _enumerate(first.flatten(0, 1), count.flatten(0, 1), grid[0])
    # gsplat's layout: the tile takes just enough bits above the depth's 32.
    tile_bits = (grid[0] * grid[1]).bit_length()
    image = owner // max(means2d.shape[1], 1)
    depth_bits = depths.detach().float().flatten().view(torch.int32).long()[owner]
    keys = (((image << tile_bits) | tile_id) << 32) | depth_bits
    keys, order = torch.sort(keys, stable=True)
    per_tile = torch.bincount(
        image * (grid[0] * grid[1]) + tile_id, minlength=n_images * grid[0] * grid[1]
    )
    offsets = per_tile.cumsum(0) - per_tile
    return TileLists(
        tile_size=tile_size,
        tile_width=grid[0],
        tile_height=grid[1],
        tiles_per_gauss=count.prod(-1).int(),
        isect_ids=keys,
        flatten_ids=owner[order].int(),
        isect_offsets=offsets.view(n_images, grid[1], grid[0]).int(),
    )


def _tile_boxes(
    means2d: Tensor, radii: Tensor, grid: tuple[int, int], tile_size: int
) -> tuple[Tensor, Tensor]:
    """Returns the first tile and number of tiles in x and y, [C, N, 2] int64 each; 0 tiles where
    culled.
    """
    centre, half = means2d.detach() / tile_size, radii.to(means2d) / tile_size
    limit = means2d.new_tensor(grid)
    first = torch.minimum((centre - half).floor().clamp_min(0.0), limit)
    last = torch.minimum((centre + half).ceil().clamp_min(0.0), limit)
    visible = (radii > 0).all(-1, keepdim=True)
    # A culled centre may be anything, infinite too, so it is replaced before the cast.
    first, last = (torch.where(visible, bound, 0.0).long() for bound in (first, last))
    return first, last - first


def _enumerate(first: Tensor, count: Tensor, tile_width: int) -> tuple[Tensor, Tensor]:
    """Expands the boxes [G, 2] into pairs: the owner [I] in [0, G) and its row-major tile [I]."""
    total = count.prod(-1)
    owner = torch.repeat_interleave(total)
    rank = torch.arange(owner.shape[0], device=owner.device)
    rank = rank - (total.cumsum(0) - total)[owner]
    columns = count[owner, 0]
    row = torch.div(rank, columns, rounding_mode="floor")
    x = first[owner, 0] + rank - row * columns
    return owner, (first[owner, 1] + row) * tile_width + x
