"""Scores that methods share: per-Gaussian normalisations, and choices by rank.

Pure functions of tensors on any device. The maps of photos that become scores, where the trainer
attributes them to Gaussians (see `base.Strategy.attributed_maps`), are those of
`gs_densify.images`; they have their names here as well.
"""

import torch
from torch import Tensor

from gs_densify.images.blur import window as ssim_window
from gs_densify.images.edges import edge_map, find_edges_map, luma
from gs_densify.images.maps import dissimilarity_map, error_and_edges, error_map
from gs_densify.images.ssim import CONSTANTS as SSIM_CONSTANTS
from gs_densify.model.thinning import evenly_spaced, spatial_order

__all__ = [
    "SSIM_CONSTANTS",
    "dissimilarity_map",
    "edge_map",
    "error_and_edges",
    "error_map",
    "find_edges_map",
    "lowest",
    "luma",
    "masked",
    "mean_normalized_positive",
    "median_normalized",
    "min_max_normalized",
    "random_views",
    "rank",
    "ssim_window",
]


def min_max_normalized(values: Tensor) -> Tensor:
    """Returns `values` moved and scaled to [0,1]; zeros where they are all equal."""
    low = values.amin()
    span = values.amax() - low
    return torch.where(span > 0, (values - low) / span, torch.zeros_like(values))


def median_normalized(values: Tensor) -> Tensor:
    """Returns `values` over the median of the positive ones; 0 where they are not positive."""
    is_positive = values > 0
    median = torch.where(is_positive, values, torch.nan).flatten().nanmedian()
    return torch.where(is_positive, values / median, torch.zeros_like(values))


def mean_normalized_positive(values: Tensor) -> Tensor:
    """Returns `values` over the mean of the positive ones; 0 where they are not positive."""
    positive = torch.where(values > 0, values, torch.zeros_like(values))
    mean = positive.sum() / (values > 0).sum()
    return torch.where(values > 0, values / mean, torch.zeros_like(values))


def rank(values: Tensor) -> Tensor:
    """Returns the share of the entries [N] that are smaller, equal ones by half: within (0,1).

    The mean is 1/2, equal values have equal ranks, and no rank is 0.
    """
    ordered = values.sort().values
    below = torch.searchsorted(ordered, values)
    upto = torch.searchsorted(ordered, values, right=True)
    return (below + upto).to(values.dtype) / (2 * max(len(values), 1))


def lowest(values: Tensor, n: int, means: Tensor | None = None) -> Tensor:
    """Returns the mask [N] of the `n` smallest of `values` [N]; none where `n` is not positive.

    Of equal values that are not all taken, those are that lie evenly among their `means` [N,3], or
    among the rows where no means are given: the first rows are COLMAP's first points, which lie
    together.
    """
    n = min(n, len(values))
    if n <= 0:
        return torch.zeros(len(values), dtype=torch.bool, device=values.device)
    limit = values.kthvalue(n).values
    mask = values < limit
    tied, missing = torch.where(values == limit)[0], n - int(mask.sum())
    if means is not None:
        tied = tied[spatial_order(means[tied], missing)]
    mask[tied[evenly_spaced(len(tied), missing, device=tied.device)]] = True
    return mask


def masked(indices: Tensor, count: int) -> Tensor:
    """Returns the mask [count] of the rows `indices`."""
    mask = torch.zeros(count, dtype=torch.bool, device=indices.device)
    mask[indices] = True
    return mask


def random_views(count: int, n: int) -> list[int]:
    """Draws `n` of `count` views without replacement, at most all, on the CPU."""
    return torch.randperm(count)[:n].tolist()
