"""SSIM's Gaussian blur, 11 taps of sigma 1.5, with four treatments of the borders of an image.

It stands here twice. `blur`, of which losses and scores are made, multiplies by matrices: that is
many times faster than a convolution, and so is its gradient, but the last digits depend on the
library that multiplies. `exact_blur`, of which metrics are made, adds tap by tap in one order, so
that every run and device gives the same digits: scores are compared to the last one.
"""

import math
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

Borders = Literal["valid", "reflect", "zero", "replicate"]
"""What the window sees where it leaves the image. valid: such pixels are left out; reflect: the
image mirrored, its last row not repeated; zero: black; replicate: the last row or column."""

TAPS, SIGMA = 11, 1.5
MARGIN = TAPS // 2


@lru_cache(maxsize=1)
def window() -> tuple[float, ...]:
    """Returns the weights of the taps, whose sum is 1."""
    weights = [math.exp(-(((i - MARGIN) / SIGMA) ** 2) / 2) for i in range(TAPS)]
    total = math.fsum(weights)
    return tuple(weight / total for weight in weights)


def blur(images: Tensor, borders: Borders) -> Tensor:
    """Returns images [..., H, W] blurred by two matrix products; `valid` makes them 10 smaller."""
    height, width = images.shape[-2:]
    across = images @ _blur_matrix(width, borders, images.device, images.dtype)
    return _blur_matrix(height, borders, images.device, images.dtype).T @ across


def exact_blur(images: Tensor, borders: Borders) -> Tensor:
    """Returns what `blur` does, tap by tap: the same digits on every run and device."""
    return _blur_axis(_blur_axis(images, -2, borders), -1, borders)


@lru_cache(maxsize=32)
def _blur_matrix(size: int, borders: Borders, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Returns [size, size], or [size, size - 10] for `valid`: it blurs a row that it multiplies."""
    identity = torch.eye(size, dtype=torch.float64)
    return _blur_axis(identity, -1, borders).to(device=device, dtype=dtype)


def _blur_axis(images: Tensor, axis: int, borders: Borders) -> Tensor:
    images = _extended(images, axis, borders)
    size = images.shape[axis] - 2 * MARGIN
    first, *others = window()
    blurred = images.narrow(axis, 0, size) * first
    for i, weight in enumerate(others, start=1):
        blurred.add_(images.narrow(axis, i, size), alpha=weight)
    return blurred


def _extended(images: Tensor, axis: int, borders: Borders) -> Tensor:
    """Returns images with 5 more rows (axis -2) or columns (axis -1) on either side."""
    if borders == "valid":
        return images
    if borders == "zero":
        return pad(images, [MARGIN] * 2 if axis == -1 else [0, 0, MARGIN, MARGIN])
    last = images.shape[axis] - 1
    sources = torch.arange(-MARGIN, last + 1 + MARGIN, device=images.device)
    if borders == "reflect":
        return images.index_select(axis, last - (last - sources.abs()).abs())
    return images.index_select(axis, sources.clamp(0, last))
