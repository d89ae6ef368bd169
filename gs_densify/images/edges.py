"""Grey values and edges of images [B, H, W, 3] in [0, 1].

At its border an image goes on with its last row or column.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in ITU-R 601-2, the grey of PIL's mode "L"."""


def luma(images: Tensor) -> Tensor:
    """Returns the grey values [...] of colours [..., 3]."""
    red, green, blue = images.unbind(-1)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def edge_map(images: Tensor) -> Tensor:
    """Returns Sobel's magnitude [B, H, W] of the grey images: the change of luma per pixel."""
    grey = _extended(luma(images))
    rows = (grey[:, 2:] - grey[:, :-2]) / 2
    columns = (grey[..., 2:] - grey[..., :-2]) / 2
    down = (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 4
    across = (columns[:, :-2] + 2 * columns[:, 1:-1] + columns[:, 2:]) / 4
    return torch.hypot(down, across)


def find_edges_map(images: Tensor) -> Tensor:
    """Returns PIL's FIND_EDGES [B, H, W] of the grey images, in [0, 1].

    It is 8 times a pixel less its 8 neighbours. Unlike PIL, which copies the border pixels of the
    photo, this filters the border as well.
    """
    grey = _extended(luma(images))
    rows = grey[:, :-2] + grey[:, 1:-1] + grey[:, 2:]
    block = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    return (9 * grey[:, 1:-1, 1:-1] - block).clamp(0, 1)


def _extended(maps: Tensor) -> Tensor:
    """Returns maps [B, H, W] with their border repeated once, [B, H + 2, W + 2]."""
    return pad(maps[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
