"""How much each Gaussian matters to the training views, and whom to keep by that.

Fang and Wang, "Mini-Splatting", arXiv 2403.14166.
"""

import torch
from torch import Tensor

from gs_densify.rendering.attribution.contributors import contributions, largest_areas
from gs_densify.strategies.base import Probe

METRICS = ("indoor", "outdoor")


@torch.no_grad()
def importance(probe: Probe, count: int, metric: str) -> Tensor:
    """Returns I [N] over all training views; 0 for what is in no pixel the top contributor."""
    total = largest = None
    for view in range(len(probe)):
        found = contributions(probe(view).info, count)
        areas = largest_areas(found.ids, count)[0]
        score = view_importance(found.sums[0], found.pixels[0], areas, metric)
        total = score if total is None else total + score
        largest = areas if largest is None else largest + areas
    assert total is not None and largest is not None
    return torch.where(largest > 0, total, 0.0)


def view_importance(sums: Tensor, pixels: Tensor, areas: Tensor, metric: str) -> Tensor:
    """Returns a view's part of I [N]; `sums` of weights, `pixels` entered, `areas` topped [N]."""
    if metric == "indoor":
        return sums
    return torch.where(areas > 0, sums / pixels.clamp_min(1), 0.0)


def highest(score: Tensor, count: int) -> Tensor:
    """Returns the mask [N] of the `count` Gaussians of highest score [N], or of all."""
    order = score.argsort(descending=True, stable=True)[:count]
    return torch.zeros_like(score, dtype=torch.bool).index_fill(0, order, True)


def sample_size(score: Tensor, share: float) -> int:
    """Returns how many to draw: `share` of those with a positive score, but one at least."""
    return max(1, int(share * int((score > 0).sum())))


def most_important(score: Tensor, share: float) -> Tensor:
    """Returns the mask [N] of the fewest Gaussians that hold `share` of the sum of scores [N]."""
    values, order = score.double().sort(descending=True, stable=True)
    cumulative = values.cumsum(0)
    is_needed = cumulative - values < share * cumulative[-1]
    return torch.zeros_like(is_needed).index_copy(0, order, is_needed & (values > 0))
