"""Growth to a budget, for methods whose published rule is a threshold: the best by score grow."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gs_densify.model.gaussians import Gaussians
from gs_densify.strategies import ops, scores
from gs_densify.strategies.schedule import number_to_add


def highest(score: Tensor, is_doomed: Tensor, wanted: int) -> Tensor:
    """Returns the mask [N] of the highest of `score` [N] that together add `wanted` Gaussians.

    Each adds one. Those in `is_doomed` [N], which are dropped unless they grow, add two.
    """
    order = score.argsort(descending=True, stable=True)
    added = (1 + is_doomed[order].long()).cumsum(0)
    return scores.masked(order[added <= wanted], len(score))


def completed(chosen: Tensor, gradient: Tensor, wanted: int) -> Tensor:
    """Returns the mask `chosen` [N] with those of highest `gradient` [N] besides, up to `wanted`
    Gaussians.
    """
    lacking = wanted - int(chosen.sum())
    if lacking <= 0:
        return chosen
    further = torch.where(chosen, -1.0, gradient).argsort(descending=True, stable=True)[:lacking]
    return chosen | scores.masked(further, len(chosen))


@torch.no_grad()
def refine_to_budget(
    gaussians: Gaussians,
    budget: int,
    *,
    step: int,
    steps: Sequence[int],
    begin: int,
    prune_opa: float,
    is_too_large: Callable[[], Tensor],
    score: Callable[[], Tensor],
    grow: Callable[[Tensor], None],
) -> None:
    """Prunes, and lets those of highest score grow, so that the last refinement ends at `budget`.

    Args:
        gaussians: the model; its state remembers the number at the start.
        budget: the number of Gaussians to end with. What is above it goes, least opaque first.
        step: of this refinement.
        steps: of all refinements, rising.
        begin: the step at which the growth curve begins.
        prune_opa: opacity below which a Gaussian goes, before growth.
        is_too_large: gives the mask [N] of those that go for their size, unless they split.
        score: gives the values [N] by which they are ranked.
        grow: clones or splits the Gaussians in a mask [N], each into two.
    """
    ops.remove_surplus(*gaussians, budget)
    start = gaussians.state.setdefault("num_at_start", gaussians.num)
    ops.remove(*gaussians, gaussians.opacities < prune_opa)
    is_doomed = is_too_large()
    kept = gaussians.num - int(is_doomed.sum())
    wanted = number_to_add(kept, budget, step=step, steps=steps, begin=begin, start=start)
    grow(highest(score(), is_doomed, wanted))
    ops.remove(*gaussians, is_too_large())
