"""Splits and clones beyond the original ones, shared by the methods that use them.

In place, under the conventions of `ops`: `mask` is bool [N], parameters, optimiser moments and
statistics stay in step, and a split leaves `[others, first children, second children]`, the
children with zero moments and their parent's statistics. All of them are deterministic.
"""

import math

import torch

from gs_densify.errors import StrategyError
from gs_densify.model.gaussians import Gaussians
from gs_densify.model.geometry import quats_to_rotmats
from gs_densify.strategies import ops
from gs_densify.strategies.ops import Optimizers, Params, State


@torch.no_grad()
def long_axis_split(
    params: Params,
    optimizers: Optimizers,
    state: State,
    mask: torch.Tensor,
    *,
    offset: float,
    shrink_long: float,
    shrink_others: float,
    opacity_factor: float,
) -> None:
    """Replaces each Gaussian in `mask` by two on its longest principal axis.

    The children lie at mu +- `offset` * sigma_max; the longest axis is scaled by `shrink_long`, the
    two others by `shrink_others`, the opacity by `opacity_factor` (and kept below 1).
    """
    _check_factors(
        shrink_long=shrink_long, shrink_others=shrink_others, opacity_factor=opacity_factor
    )
    chosen = Gaussians(params, optimizers, state).rows(mask)
    if len(chosen) == 0:
        return
    scales = params["scales"][chosen]
    longest = scales.argmax(dim=-1, keepdim=True)
    sigma = scales.gather(1, longest).exp()
    rotations = quats_to_rotmats(params["quats"][chosen])
    axis = rotations.gather(2, longest[:, None].expand(-1, 3, 1)).squeeze(-1)
    shift = offset * sigma * axis
    means = params["means"][chosen]
    log_factors = torch.full_like(scales, math.log(shrink_others))
    log_factors.scatter_(1, longest, math.log(shrink_long))
    opacities = opacity_factor * params["opacities"][chosen].sigmoid()
    values = {
        "means": torch.cat([means + shift, means - shift]),
        "scales": (scales + log_factors).repeat(2, 1),
        "opacities": torch.cat([ops.inverse_sigmoid(opacities)] * 2),
    }
    ops.replace_by_children(params, optimizers, state, chosen, values)


@torch.no_grad()
def moment_split(
    params: Params, optimizers: Optimizers, state: State, mask: torch.Tensor, *, delta: float
) -> None:
    """Replaces each Gaussian in `mask` by two whose sum has the same mass, mean and covariance.

    Mass is alpha * sqrt(det Sigma). On the longest axis, with 0 < delta < 1:

        mu' = mu +- delta * sigma,  sigma' = sigma * sqrt(1 - delta^2),
        alpha' = alpha / (2 * sqrt(1 - delta^2))

    delta = sqrt(2/pi) gives the children the moments of the two halves that a plane through the
    mean cuts (arXiv 2403.09143); 0.5 looks more like the parent. Above sqrt(3)/2 alpha' exceeds
    alpha; where it would reach 1 it is clamped below, and mass is lost.
    """
    if not 0.0 < delta < 1.0:
        raise StrategyError(
            f"moment_split: delta is {delta}", expected="a number between 0 and 1 is needed"
        )
    shrink = math.sqrt(1.0 - delta**2)
    long_axis_split(
        params,
        optimizers,
        state,
        mask,
        offset=delta,
        shrink_long=shrink,
        shrink_others=1.0,
        opacity_factor=0.5 / shrink,
    )


@torch.no_grad()
def revised_clone(params: Params, optimizers: Optimizers, state: State, mask: torch.Tensor) -> None:
    """Appends a copy of each Gaussian in `mask`; both become 1 - sqrt(1 - alpha) opaque.

    Two such copies cover as one did (arXiv 2404.06109, section 4). The copies' moments are zero, as
    in `ops.duplicate`. Of the parents only the opacities' moments are zeroed: they belong to the
    old value, and so the opacities of both copies start alike. The others are kept, which is what
    lets the two part.
    """
    gaussians = Gaussians(params, optimizers, state)
    chosen = gaussians.rows(mask)
    if len(chosen) == 0:
        return
    opacities = ops.revised_opacity_of(params["opacities"][chosen].sigmoid())
    logits = ops.inverse_sigmoid(opacities)
    gaussians.gather(None, chosen)
    opacity = params["opacities"]
    opacity[chosen] = logits
    opacity[len(mask) :] = logits
    gaussians.forget_moments(("opacities",), chosen)


def _check_factors(**factors: float) -> None:
    for name, value in factors.items():
        if not 0.0 < value < math.inf:
            raise StrategyError(
                f"long_axis_split: {name} is {value}", expected="a positive number is needed"
            )
