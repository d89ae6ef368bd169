"""Which Gaussian enters each pixel most, and how much each one enters an image.

With w_k(p) the blending weight of Gaussian k at pixel p (see `compositing`), both are read from
what a rasteriser left in `info`, packed or not, under gsplat 1.5.3's rules for alpha. A Gaussian
enters a pixel where its weight is positive. On CUDA a Triton kernel does it where there is one;
elsewhere torch does, tile by tile. Of views that several processes share each does its own, and
gets what the others found of theirs.

gsplat 1.5.3 has neither; at a threshold (1/255, 1e-4) float32 programs may decide differently.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gs_densify.kernels import HAS_TRITON
from gs_densify.rendering.attribution.views import SharedViews
from gs_densify.rendering.reference.compositing import blending_weights
from gs_densify.rendering.reference.tiles import TileLists


class Contributions(NamedTuple):
    """What N Gaussians do to C images.

    Attributes:
        ids: [C, H, W] int64, the Gaussian of the largest weight (the front one of equals), or -1.
        weights: [C, H, W] that weight, 0 where there is none.
        sums: [C, N] sum over pixels of the weights.
        pixels: [C, N] int64, pixels in which the weight is positive.
        distances: [C, N] sum over those pixels of the distance, in pixels, from the projected
            centre; None without a map.
        mapped: [C, N] sum over those pixels of a map, whatever the weights; None without a map.
    """

    ids: Tensor
    weights: Tensor
    sums: Tensor
    pixels: Tensor
    distances: Tensor | None = None
    mapped: Tensor | None = None


class Found(NamedTuple):
    """What an implementation finds for R rows; sums that were not asked for are empty."""

    ids: Tensor  # [C, H, W] rows, -1: none
    weights: Tensor  # [C, H, W]
    sums: Tensor  # [R]
    pixels: Tensor  # [R] int64
    distances: Tensor  # [R]
    mapped: Tensor  # [R]


class Rows(NamedTuple):
    """R projected Gaussians: C * N of them, or the visible pairs in packed mode."""

    means2d: Tensor  # [R, 2]
    conics: Tensor  # [R, 3]
    opacities: Tensor  # [R]


def top_contributors(info: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Returns the Gaussian of the largest blending weight at each pixel, and that weight.

    Returns:
        ids [C, H, W] int64, -1 where nothing is drawn, and weights [C, H, W].
    """
    if isinstance(info, SharedViews):
        ids, weights = top_contributors(info.own)
        return info.joined(ids), info.joined(weights)
    rows, tiles = _read(info)
    found = Found(*_implementation(rows)(rows, tiles, info["width"], info["height"]))
    return _gaussians_of(found.ids, info), found.weights


def contributions(
    info: Mapping[str, Any], count: int, pixel_map: Tensor | None = None
) -> Contributions:
    """Returns `top_contributors` and the sums over each image, for a model of `count` Gaussians.

    With `pixel_map` [C, H, W] the sums include distances and those of the map.
    """
    if isinstance(info, SharedViews):
        own_map = None if pixel_map is None else info.of_own(pixel_map)
        own = contributions(info.own, count, own_map)
        return Contributions(*(info.joined(one) for one in own if one is not None))
    rows, tiles = _read(info)
    sizes = (info["width"], info["height"])
    found = Found(*_implementation(rows)(rows, tiles, *sizes, with_sums=True, pixel_map=pixel_map))
    summed = (found.sums, found.pixels, found.distances, found.mapped)
    asked = summed if pixel_map is not None else summed[:2]
    return Contributions(
        _gaussians_of(found.ids, info),
        found.weights,
        *(_by_image(values, info, count) for values in asked),
    )


def largest_areas(ids: Tensor, count: int) -> Tensor:
    """Returns pixels [C, N] of each image in which a Gaussian is the top contributor, from ids [C,
    H, W].

    Does not wait for the GPU.
    """
    slots = torch.where(ids < 0, count, ids).flatten(1)
    areas = torch.zeros(len(ids), count + 1, device=ids.device)
    areas.scatter_add_(1, slots, torch.ones_like(slots, dtype=areas.dtype))
    return areas[:, :count]


def contributors_torch(
    rows: Rows,
    tiles: TileLists,
    width: int,
    height: int,
    *,
    with_sums: bool = False,
    pixel_map: Tensor | None = None,
) -> Found:
    """Returns the top contributors and their weights on any device, tile by tile.

    `with_sums` adds the sums of weights and pixels, `pixel_map` [C, H, W] (which needs them) those
    of distances and of the map.
    """
    side = tiles.tile_size
    best = rows.means2d.new_zeros(tiles.isect_offsets.numel(), side**2)
    ids = torch.full(best.shape, -1, device=best.device)
    sums = best.new_zeros(len(rows.means2d) if with_sums else 0)
    pixels = torch.zeros(len(sums), dtype=torch.int64, device=best.device)
    distances = best.new_zeros(len(sums) if pixel_map is not None else 0)
    mapped = torch.zeros_like(distances)
    inside = _inside(tiles, width, height, best.device)
    values = None if pixel_map is None else _tiled(pixel_map, tiles)
    single = (rows.means2d[None], rows.conics[None], rows.opacities[None])
    for chosen, listed, weights in blending_weights(*single, tiles):
        largest, place = weights.max(dim=-1)
        best[chosen] = largest
        ids[chosen] = torch.where(largest > 0, listed.gather(1, place), -1)
        if with_sums:
            drawn = weights * inside[chosen % len(inside), :, None]
            sums.index_add_(0, listed.flatten(), drawn.sum(1).flatten())
            pixels.index_add_(0, listed.flatten(), (drawn > 0).sum(1).flatten())
        if with_sums and values is not None:
            far = _distances(rows.means2d[listed], chosen, tiles) * (drawn > 0)
            distances.index_add_(0, listed.flatten(), far.sum(1).flatten())
            on_map = values[chosen][..., None] * (drawn > 0)
            mapped.index_add_(0, listed.flatten(), on_map.sum(1).flatten())
    return Found(
        _image_of(ids, tiles, width, height),
        _image_of(best, tiles, width, height),
        sums,
        pixels,
        distances,
        mapped,
    )


def _implementation(rows: Rows) -> Any:
    if rows.means2d.is_cuda and HAS_TRITON:
        from gs_densify.rendering.attribution.contributors_triton import contributors_triton

        return contributors_triton
    return contributors_torch


def _read(info: Mapping[str, Any]) -> tuple[Rows, TileLists]:
    rows = Rows(
        info["means2d"].detach().reshape(-1, 2),
        info["conics"].detach().reshape(-1, 3),
        info["opacities"].detach().reshape(-1),
    )
    tiles = TileLists(
        tile_size=info["tile_size"],
        tile_width=info["tile_width"],
        tile_height=info["tile_height"],
        tiles_per_gauss=info["tiles_per_gauss"],
        flatten_ids=info["flatten_ids"][: _num_pairs(info)],
        isect_offsets=info["isect_offsets"],
    )
    return rows, tiles


def _num_pairs(info: Mapping[str, Any]) -> int | None:
    """Returns how many pairs the lists hold, where it is not their length; it waits for the GPU."""
    return int(info["num_pairs"]) if "num_pairs" in info else None


def _is_packed(info: Mapping[str, Any]) -> bool:
    return bool(info["means2d"].dim() == 2)


def _gaussians_of(flat: Tensor, info: Mapping[str, Any]) -> Tensor:
    """Gaussians of rows (-1 stays)."""
    if _is_packed(info):
        if len(info["gaussian_ids"]) == 0:
            return flat
        gaussians = info["gaussian_ids"].long()[flat.clamp_min(0)]
    else:
        gaussians = flat % max(1, info["means2d"].shape[-2])
    return torch.where(flat < 0, -1, gaussians)


def _by_image(values: Tensor, info: Mapping[str, Any], count: int) -> Tensor:
    """Returns values [R] of rows as [C, N]."""
    n_images = info["n_cameras"]
    if not _is_packed(info):
        return values.view(n_images, count)
    slots = info["camera_ids"].long() * count + info["gaussian_ids"].long()
    spread = values.new_zeros(n_images * count).index_add_(0, slots, values)
    return spread.view(n_images, count)


def _inside(tiles: TileLists, width: int, height: int, device: torch.device) -> Tensor:
    """Returns which pixels of an image's tiles exist, bool [tiles, S * S]."""
    side = tiles.tile_size
    x = torch.arange(tiles.tile_width * side, device=device) < width
    y = torch.arange(tiles.tile_height * side, device=device) < height
    grid = (y[:, None] & x).view(tiles.tile_height, side, tiles.tile_width, side)
    return grid.transpose(1, 2).reshape(-1, side**2)


def _distances(centres: Tensor, chosen: Tensor, tiles: TileLists) -> Tensor:
    """Returns distances [T, S * S, K] of the pixels of tiles `chosen` [T] from centres [T, K,
    2].
    """
    side = tiles.tile_size
    place = chosen % (tiles.tile_width * tiles.tile_height)
    column, row = place % tiles.tile_width, place // tiles.tile_width
    lane = torch.arange(side**2, device=chosen.device)
    x = column[:, None] * side + lane % side + 0.5
    y = row[:, None] * side + lane // side + 0.5
    return torch.hypot(centres[:, None, :, 0] - x[..., None], centres[:, None, :, 1] - y[..., None])


def _tiled(image: Tensor, tiles: TileLists) -> Tensor:
    """Returns [C, H, W] -> [C * tiles, S * S], with zeros beyond the image."""
    side = tiles.tile_size
    right = tiles.tile_width * side - image.shape[2]
    below = tiles.tile_height * side - image.shape[1]
    whole = torch.nn.functional.pad(image, (0, right, 0, below))
    grid = whole.view(-1, tiles.tile_height, side, tiles.tile_width, side)
    return grid.transpose(2, 3).reshape(-1, side**2)


def _image_of(values: Tensor, tiles: TileLists, width: int, height: int) -> Tensor:
    """Returns [C * tiles, S * S] -> [C, H, W], cropped."""
    side = tiles.tile_size
    grid = values.view(-1, tiles.tile_height, tiles.tile_width, side, side).transpose(2, 3)
    image = grid.reshape(-1, tiles.tile_height * side, tiles.tile_width * side)
    return image[:, :height, :width].contiguous()
