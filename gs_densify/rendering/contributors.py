"""Which Gaussian enters each pixel most, and how much each one enters an image.

With w_k(p) the blending weight of Gaussian k at pixel p (see `compositing`), both are read from
what a rasteriser left in `info`, packed or not, under gsplat 1.5.3's rules for alpha. On CUDA a
Triton kernel does it where there is one; elsewhere torch does, tile by tile.

gsplat 1.5.3 has neither; at a threshold (1/255, 1e-4) float32 programs may decide differently.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from gs_densify.rendering.compositing import blending_weights
from gs_densify.rendering.tiles import TileLists
from gs_densify.splats.kernels import HAS_TRITON


class Contributions(NamedTuple):
    """What N Gaussians do to C images.

    Attributes:
        ids: [C, H, W] int64, the Gaussian of the largest weight (the front one of equals), or -1.
        weights: [C, H, W] that weight, 0 where there is none.
        sums: [C, N] sum over pixels of the weights.
        pixels: [C, N] int64, pixels in which the weight is positive.
    """

    ids: Tensor
    weights: Tensor
    sums: Tensor
    pixels: Tensor


class Rows(NamedTuple):
    """R projected Gaussians: C * N of them, or the visible pairs in packed mode."""

    means2d: Tensor  # [R, 2]
    conics: Tensor  # [R, 3]
    opacities: Tensor  # [R]


def top_contributors(info: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """The Gaussian of the largest blending weight at each pixel, and that weight.

    Returns:
        ids [C, H, W] int64, -1 where nothing is drawn, and weights [C, H, W].
    """
    rows, tiles = _read(info)
    flat, weights, _, _ = _implementation(rows)(rows, tiles, info["width"], info["height"], False)
    return _gaussians_of(flat, info), weights


def contributions(info: dict[str, Any], count: int) -> Contributions:
    """`top_contributors` and the sums over each image, for a model of `count` Gaussians."""
    rows, tiles = _read(info)
    flat, weights, sums, pixels = _implementation(rows)(
        rows, tiles, info["width"], info["height"], True
    )
    return Contributions(
        _gaussians_of(flat, info),
        weights,
        _by_image(sums, info, count),
        _by_image(pixels, info, count),
    )


def largest_areas(ids: Tensor, count: int) -> Tensor:
    """Pixels [C, N] of each image in which a Gaussian is the top contributor, from ids [C, H, W].

    Does not wait for the GPU.
    """
    slots = torch.where(ids < 0, count, ids).flatten(1)
    areas = torch.zeros(len(ids), count + 1, device=ids.device)
    areas.scatter_add_(1, slots, torch.ones_like(slots, dtype=areas.dtype))
    return areas[:, :count]


def contributors_torch(
    rows: Rows, tiles: TileLists, width: int, height: int, with_sums: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rows [C, H, W] of the top contributors (-1: none) and their weights, on any device.

    Also the sums of weights [R] and the numbers of pixels [R], which are empty without
    `with_sums`.
    """
    side = tiles.tile_size
    best = rows.means2d.new_zeros(tiles.isect_offsets.numel(), side**2)
    ids = torch.full(best.shape, -1, device=best.device)
    sums = best.new_zeros(len(rows.means2d) if with_sums else 0)
    pixels = torch.zeros(len(sums), dtype=torch.int64, device=best.device)
    inside = _inside(tiles, width, height, best.device)
    single = (rows.means2d[None], rows.conics[None], rows.opacities[None])
    for chosen, listed, weights in blending_weights(*single, tiles):
        largest, place = weights.max(dim=-1)
        best[chosen] = largest
        ids[chosen] = torch.where(largest > 0, listed.gather(1, place), -1)
        if with_sums:
            drawn = weights * inside[chosen % len(inside), :, None]
            sums.index_add_(0, listed.flatten(), drawn.sum(1).flatten())
            pixels.index_add_(0, listed.flatten(), (drawn > 0).sum(1).flatten())
    return (
        _image_of(ids, tiles, width, height),
        _image_of(best, tiles, width, height),
        sums,
        pixels,
    )


def _implementation(rows: Rows) -> Any:
    if rows.means2d.is_cuda and HAS_TRITON:
        from gs_densify.rendering.contributors_triton import contributors_triton

        return contributors_triton
    return contributors_torch


def _read(info: dict[str, Any]) -> tuple[Rows, TileLists]:
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
        isect_ids=info["isect_ids"],
        flatten_ids=info["flatten_ids"],
        isect_offsets=info["isect_offsets"],
    )
    return rows, tiles


def _is_packed(info: dict[str, Any]) -> bool:
    return bool(info["means2d"].dim() == 2)


def _gaussians_of(flat: Tensor, info: dict[str, Any]) -> Tensor:
    """Gaussians of rows (-1 stays)."""
    if _is_packed(info):
        if len(info["gaussian_ids"]) == 0:
            return flat
        gaussians = info["gaussian_ids"].long()[flat.clamp_min(0)]
    else:
        gaussians = flat % max(1, info["means2d"].shape[-2])
    return torch.where(flat < 0, -1, gaussians)


def _by_image(values: Tensor, info: dict[str, Any], count: int) -> Tensor:
    """Values [R] of rows as [C, N]."""
    n_images = info["n_cameras"]
    if not _is_packed(info):
        return values.view(n_images, count)
    slots = info["camera_ids"].long() * count + info["gaussian_ids"].long()
    spread = values.new_zeros(n_images * count).index_add_(0, slots, values)
    return spread.view(n_images, count)


def _inside(tiles: TileLists, width: int, height: int, device: torch.device) -> Tensor:
    """Which pixels of an image's tiles exist, bool [tiles, S * S]."""
    side = tiles.tile_size
    x = torch.arange(tiles.tile_width * side, device=device) < width
    y = torch.arange(tiles.tile_height * side, device=device) < height
    grid = (y[:, None] & x).view(tiles.tile_height, side, tiles.tile_width, side)
    return grid.transpose(1, 2).reshape(-1, side**2)


def _image_of(values: Tensor, tiles: TileLists, width: int, height: int) -> Tensor:
    """[C * tiles, S * S] -> [C, H, W], cropped."""
    side = tiles.tile_size
    grid = values.view(-1, tiles.tile_height, tiles.tile_width, side, side).transpose(2, 3)
    image = grid.reshape(-1, tiles.tile_height * side, tiles.tile_width * side)
    return image[:, :height, :width].contiguous()
