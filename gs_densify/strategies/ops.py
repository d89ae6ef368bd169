"""The operations on Gaussians, in place, under gsplat 1.5.3's names and signatures.

Each takes the three parts of `model.gaussians.Gaussians`: `params` maps names to parameters with N
rows, `optimizers` has one optimiser a parameter with one group each, `state` holds a strategy's
statistics, of which those with a row for each Gaussian follow every operation. What moves rows is
there, in one place; here is what each operation does with them.
"""

import math
from collections.abc import Mapping, MutableMapping
from typing import Any, TypeAlias

import torch
from torch import Tensor

from gs_densify.errors import StrategyError
from gs_densify.model.gaussians import Gaussians, Optimizers, Params
from gs_densify.model.geometry import quats_to_rotmats, rotate
from gs_densify.model.types import Splats
from gs_densify.strategies.scores import lowest

State: TypeAlias = MutableMapping[str, Any]

_MULTINOMIAL_LIMIT = 2**24  # torch.multinomial refuses more categories
_MAX_OPACITY = 1.0 - 1e-6  # the logit of 1 is infinite


def count(params: Splats) -> int:
    """Returns the number of Gaussians."""
    return len(params["means"])


def largest_scale(params: Params) -> Tensor:
    """Returns the largest of the three scales of each Gaussian, [N], in world units."""
    return Gaussians(params, {}, {}).largest_scales


def chosen_rows(params: Params, mask: Tensor) -> Tensor:
    """Returns the rows in `mask`, which must be boolean with one entry for each Gaussian."""
    return Gaussians(params, {}, {}).rows(mask)


def inverse_sigmoid(opacities: Tensor) -> Tensor:
    """Returns the logits of opacities, clamped so that they are finite."""
    return torch.logit(opacities.clamp(1e-8, _MAX_OPACITY))


def revised_opacity_of(opacities: Tensor) -> Tensor:
    """Returns the opacity of each of two copies that cover as one did (2404.06109, section 4)."""
    return 1.0 - torch.sqrt(1.0 - opacities.clamp(max=_MAX_OPACITY))


@torch.no_grad()
def duplicate(params: Params, optimizers: Optimizers, state: State, mask: Tensor) -> None:
    """Appends a copy of each Gaussian in `mask` [N]; the copies' moments are zero."""
    gaussians = Gaussians(params, optimizers, state)
    chosen = gaussians.rows(mask)
    if len(chosen) > 0:
        gaussians.gather(None, chosen)


@torch.no_grad()
def split(
    params: Params,
    optimizers: Optimizers,
    state: State,
    mask: Tensor,
    revised_opacity: bool = False,
) -> None:
    """Replaces each Gaussian in `mask` [N] by two drawn from it, 1.6 times smaller (3DGS, 5.2).

    The order becomes `[others, first children, second children]`.
    """
    clone_and_split(params, optimizers, state, torch.zeros_like(mask), mask, revised_opacity)


@torch.no_grad()
def clone_and_split(
    params: Params,
    optimizers: Optimizers,
    state: State,
    is_clone: Tensor,
    is_split: Tensor,
    revised_opacity: bool = False,
) -> None:
    """Duplicates the Gaussians in `is_clone` [N] and splits those in `is_split` [N], in one pass.

    The order becomes `[others, copies, first children, second children]`.
    """
    gaussians = Gaussians(params, optimizers, state)
    clones, chosen = gaussians.rows(is_clone), gaussians.rows(is_split)
    if len(clones) + len(chosen) == 0:
        return
    kept = torch.where(~is_split)[0] if len(chosen) else None
    children = _children(params, chosen, revised_opacity)
    gaussians.gather(kept, torch.cat([clones, chosen, chosen]), tail=children)


def _children(params: Params, chosen: Tensor, revised_opacity: bool) -> dict[str, Tensor]:
    """Returns the values of the 2M children of rows `chosen` [M] that are not their parents'."""
    scales = params["scales"][chosen].exp()
    noise = torch.randn(2, len(chosen), 3, device=chosen.device, dtype=scales.dtype)
    offsets = torch.einsum(
        "nij,nj,bnj->bni", quats_to_rotmats(params["quats"][chosen]), scales, noise
    )
    values = {
        "means": (params["means"][chosen] + offsets).reshape(-1, 3),
        "scales": (scales / 1.6).log().repeat(2, 1),
    }
    if revised_opacity:
        opacities = revised_opacity_of(params["opacities"][chosen].sigmoid())
        repeats = [2] + [1] * (opacities.dim() - 1)
        values["opacities"] = inverse_sigmoid(opacities).repeat(repeats)
    return values


@torch.no_grad()
def remove(params: Params, optimizers: Optimizers, state: State, mask: Tensor) -> None:
    """Drops the Gaussians in `mask` [N]."""
    gaussians = Gaussians(params, optimizers, state)
    dropped = gaussians.rows(mask)
    if len(dropped) > 0:
        gaussians.gather(torch.where(~mask)[0], dropped[:0])


@torch.no_grad()
def reset_opa(params: Params, optimizers: Optimizers, state: State, value: float) -> None:
    """Lowers every opacity to at most `value` in (0, 1) and forgets the opacities' moments."""
    if not 0.0 < value < 1.0:
        raise StrategyError(
            f"reset_opa: value is {value}", expected="an opacity between 0 and 1 is needed"
        )
    params["opacities"].clamp_(max=math.log(value / (1 - value)))
    Gaussians(params, optimizers, state).forget_moments(("opacities",))


@torch.no_grad()
def forget_moments(
    params: Params, optimizers: Optimizers, *, names: tuple[str, ...] | None = None
) -> None:
    """Zeroes the optimisers' moments of the named parameters (all when None), in place."""
    Gaussians(params, optimizers, {}).forget_moments(names or None)


@torch.no_grad()
def relocate(
    params: Params,
    optimizers: Optimizers,
    state: State,
    mask: Tensor,
    binoms: Tensor | None = None,
    min_opacity: float = 0.005,
) -> None:
    """Moves the dead Gaussians in `mask` [N] onto live ones, sampled by opacity (arXiv 2404.09591).

    Like gsplat, the sampled ones lose their moments and statistics, the moved ones keep theirs.
    `binoms` is accepted for gsplat's signature; its width is the most copies of one Gaussian.
    """
    gaussians = Gaussians(params, optimizers, state)
    dead = gaussians.rows(mask)
    alive = torch.where(~mask)[0]
    if len(dead) == 0:
        return
    if len(alive) == 0:
        raise StrategyError(f"relocate: all {len(dead)} Gaussians are dead; none is left to copy")
    sampled = alive[sample_with_replacement(gaussians.opacities[alive], len(dead))]
    values = _shared_among_copies(params, sampled, binoms, min_opacity)
    for name, value in values.items():
        params[name][sampled] = value
    gaussians.copy_rows(dead, sampled)


@torch.no_grad()
def sample_add(
    params: Params,
    optimizers: Optimizers,
    state: State,
    n: int,
    binoms: Tensor | None = None,
    min_opacity: float = 0.005,
) -> None:
    """Appends `n` copies of Gaussians sampled by opacity (arXiv 2404.09591, Eq. 9).

    The new rows' moments and statistics are zero; the sampled ones keep theirs, as in gsplat.
    """
    if n <= 0:
        return
    gaussians = Gaussians(params, optimizers, state)
    sampled = sample_with_replacement(gaussians.opacities, n)
    for name, value in _shared_among_copies(params, sampled, binoms, min_opacity).items():
        params[name][sampled] = value
    gaussians.gather(None, sampled, copies_statistics=False)


@torch.no_grad()
def inject_noise_to_position(
    params: Params, optimizers: Optimizers, state: State, scaler: float
) -> None:
    """Moves each mean by its covariance times noise, most where opacity is low (2404.09591, Eq. 8).

    `scaler` is the means' learning rate times the noise rate.
    """
    opacities = Gaussians(params, optimizers, state).opacities
    weight = torch.sigmoid(100 * ((1 - opacities) - 0.995)) * scaler
    noise = torch.randn_like(params["means"]) * weight[:, None]
    # Its covariance is R diag(s^2) R^T; with w negated a quaternion turns back.
    quats = torch.nn.functional.normalize(params["quats"], dim=-1)
    back = torch.cat([-quats[:, :1], quats[:, 1:]], dim=1)
    spread = rotate(back, noise) * (2 * params["scales"]).exp()
    params["means"].add_(rotate(quats, spread))


def replace_by_children(
    params: Params, optimizers: Optimizers, state: State, chosen: Tensor, values: dict[str, Tensor]
) -> None:
    """Replaces rows `chosen` [M] by 2M children, whose `values` have 2M rows (others are copied).

    The order becomes `[others, first children, second children]`; children's moments are zero.
    """
    gaussians = Gaussians(params, optimizers, state)
    is_kept = torch.ones(gaussians.num, dtype=torch.bool, device=chosen.device)
    is_kept[chosen] = False
    gaussians.gather(torch.where(is_kept)[0], torch.cat([chosen, chosen]), tail=values)


@torch.no_grad()
def rebuild(
    params: Params, optimizers: Optimizers, state: State, values: Mapping[str, Tensor]
) -> None:
    """Replaces the whole model by `values` (every parameter, N' rows) and forgets all moments.

    Statistics of N rows become zeros of N' rows, and so do gradients.
    """
    Gaussians(params, optimizers, state).rebuild(values)


def compute_relocation(opacities: Tensor, scales: Tensor, ratios: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the opacity [M] and scales [M,3] of each of `ratios` [M] copies that look like one.

    Eq. 9 of arXiv 2404.09591. Its double sum over i and k of C(i-1, k) (-1)^k a^(k+1) / sqrt(k+1)
    is summed over i first, which leaves C(N, k+1). The sum alternates, hence float64.
    """
    exact = opacities.double()
    copies = ratios.double()
    new = 1 - (1 - exact) ** (1 / copies)
    k = torch.arange(int(ratios.max()), device=opacities.device, dtype=torch.float64)
    log_binomial = (
        torch.lgamma(copies[:, None] + 1)
        - torch.lgamma(k + 2)
        - torch.lgamma((copies[:, None] - k).clamp_min(1))
    )
    sign = 1 - 2 * (k % 2)
    terms = sign * log_binomial.exp() * new[:, None] ** (k + 1) / torch.sqrt(k + 1)
    denominator = torch.where(k < copies[:, None], terms, 0.0).sum(-1)
    factor = exact / denominator
    return new.to(opacities.dtype), (scales.double() * factor[:, None]).to(scales.dtype)


def sample_with_replacement(weights: Tensor, n: int) -> Tensor:
    """Returns indices [n] drawn in proportion to `weights` [N], for any N."""
    if len(weights) <= _MULTINOMIAL_LIMIT:
        return torch.multinomial(weights, n, replacement=True)
    cumulative = weights.double().cumsum(0)
    draws = torch.rand(n, device=weights.device, dtype=torch.float64) * cumulative[-1]
    return torch.searchsorted(cumulative, draws, right=True).clamp_max(len(weights) - 1)


def sample_without_replacement(weights: Tensor, n: int) -> Tensor:
    """Returns at most `n` distinct indices, drawn in proportion to positive `weights` [N].

    The n largest of log w + Gumbel noise are such a sample (Vieira 2014; Kool et al.,
    arXiv 1903.06059). Zero weights are never drawn, and N may be any.
    """
    uniform = torch.rand(len(weights), device=weights.device, dtype=torch.float64)
    gumbel = -torch.log(-torch.log(uniform.clamp(1e-300, 1 - 1e-16)))
    keys = torch.where(weights > 0, weights.double().log() + gumbel, -math.inf)
    n = min(n, int((weights > 0).sum()))
    return torch.topk(keys, n).indices


@torch.no_grad()
def remove_surplus(params: Params, optimizers: Optimizers, state: State, budget: int) -> None:
    """Drops the least opaque Gaussians above `budget`; equally opaque ones evenly in space."""
    surplus = count(params) - budget
    if surplus > 0:
        opacities = params["opacities"].detach().flatten()
        remove(params, optimizers, state, lowest(opacities, surplus, params["means"].detach()))


def quantile(values: Tensor, q: float) -> Tensor:
    """Returns the value [] below which a share `q` lies (lower), for any size.

    `torch.quantile` refuses inputs of more than 2^24 elements.
    """
    if not len(values):
        raise StrategyError("quantile of no values")
    rank = min(len(values) - 1, max(0, math.floor(q * (len(values) - 1))))
    return values.sort().values[rank]


def _shared_among_copies(
    params: Params, sampled: Tensor, binoms: Tensor | None, min_opacity: float
) -> dict[str, Tensor]:
    """Returns opacity logits and log-scales for rows `sampled` and their copies."""
    most = 51 if binoms is None else binoms.shape[0]
    ratios = (torch.bincount(sampled)[sampled] + 1).clamp(1, most)
    opacities, scales = compute_relocation(
        params["opacities"].flatten()[sampled].sigmoid(), params["scales"][sampled].exp(), ratios
    )
    eps = torch.finfo(torch.float32).eps
    logits = torch.logit(opacities.clamp(min_opacity, 1.0 - eps))
    shape = (-1, *params["opacities"].shape[1:])
    return {"opacities": logits.reshape(shape), "scales": scales.log()}
