"""Choosing some of many points so that those chosen lie evenly among all."""

import math

import torch
from torch import Tensor


def spatial_order(points: Tensor, parts: int) -> Tensor:
    """Returns the indices [P] of points [P,3] in an order in which neighbours lie close together.

    It is that of the leaves of a k-d tree (Bentley 1975) of at least `parts` leaves: cells are cut
    at the median along the axis in which they are longest, so that all hold equally many points,
    however these are spread.
    """
    count = len(points)
    order = torch.arange(count, device=points.device)
    for level in range(math.ceil(math.log2(max(1, min(parts, count))))):
        cells = torch.arange(count, device=points.device) * 2**level // count
        coordinates = _along_longest_axis(points[order], cells, 2**level)
        by_coordinate = coordinates.argsort(stable=True)
        order = order[by_coordinate[cells[by_coordinate].argsort(stable=True)]]
    return order


def evenly_spaced(count: int, n: int, *, device: torch.device | None = None) -> Tensor:
    """Returns `n` of `count` positions, rising and at equal distances."""
    steps = torch.arange(n, device=device, dtype=torch.float64)
    return ((steps + 0.5) * count / max(n, 1)).long()


def thinned(points: Tensor, n: int) -> Tensor:
    """Returns the indices [n], rising, of `n` of the points [P,3], evenly among them."""
    order = spatial_order(points, n)
    return order[evenly_spaced(len(order), n, device=points.device)].sort().values


def _along_longest_axis(points: Tensor, cells: Tensor, num_cells: int) -> Tensor:
    """Returns the coordinate [P] of each point along the longest axis of its cell."""
    index = cells[:, None].expand(-1, 3)
    empty = points.new_zeros(num_cells, 3)
    low = empty.scatter_reduce(0, index, points, "amin", include_self=False)
    high = empty.scatter_reduce(0, index, points, "amax", include_self=False)
    axes = (high - low).argmax(dim=1)
    return points.gather(1, axes[cells, None]).squeeze(1)
