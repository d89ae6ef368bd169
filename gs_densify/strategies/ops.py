"""The operations on Gaussians, in place, under gsplat 1.5.3's names and signatures.

`params` maps names to parameters with N rows, `optimizers` has one optimiser a parameter with one
group each, `state` holds a strategy's statistics, of which those with a row for each Gaussian (see
`state.State`) follow every operation. Everything goes through `_gather`, so that parameters,
gradients that are summed over several steps, optimiser moments and statistics stay in step. Nothing
here is tied to a device.
"""

import math
from collections.abc import Mapping, MutableMapping
from typing import Any, TypeAlias

import torch
from torch import Tensor

from gs_densify.errors import StrategyError
from gs_densify.model.geometry import quats_to_rotmats, rotate
from gs_densify.model.state import rows_of
from gs_densify.model.types import Splats
from gs_densify.strategies.scores import lowest

Params: TypeAlias = MutableMapping[str, Any] | torch.nn.ParameterDict
Optimizers: TypeAlias = Mapping[str, torch.optim.Optimizer]
State: TypeAlias = MutableMapping[str, Any]

_MULTINOMIAL_LIMIT = 2**24  # torch.multinomial refuses more categories
_MAX_OPACITY = 1.0 - 1e-6  # the logit of 1 is infinite


def count(params: Splats) -> int:
    """The number of Gaussians."""
    return len(params["means"])


def largest_scale(params: Params) -> Tensor:
    """Largest of the three scales of each Gaussian, [N], world units."""
    return params["scales"].detach().amax(dim=-1).exp()


def inverse_sigmoid(opacities: Tensor) -> Tensor:
    """Logits of opacities, clamped so that they are finite."""
    return torch.logit(opacities.clamp(1e-8, _MAX_OPACITY))


def revised_opacity_of(opacities: Tensor) -> Tensor:
    """Opacity of each of two copies that together cover as one (arXiv 2404.06109, section 4)."""
    return 1.0 - torch.sqrt(1.0 - opacities.clamp(max=_MAX_OPACITY))


@torch.no_grad()
def duplicate(params: Params, optimizers: Optimizers, state: State, mask: Tensor) -> None:
    """Append a copy of each Gaussian in `mask` [N]; the copies' moments are zero."""
    chosen = chosen_rows(params, mask)
    if len(chosen) == 0:
        return
    _gather(params, optimizers, state, None, chosen)


@torch.no_grad()
def split(
    params: Params,
    optimizers: Optimizers,
    state: State,
    mask: Tensor,
    revised_opacity: bool = False,
) -> None:
    """Replace each Gaussian in `mask` [N] by two drawn from it, 1.6 times smaller (3DGS, 5.2).

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
    """`duplicate` the Gaussians in `is_clone` [N] and `split` those in `is_split` [N], in one pass.

    The order becomes `[others, copies, first children, second children]`.
    """
    clones, chosen = chosen_rows(params, is_clone), chosen_rows(params, is_split)
    if len(clones) + len(chosen) == 0:
        return
    kept = torch.where(~is_split)[0] if len(chosen) else None
    children = _children(params, chosen, revised_opacity)
    _gather(params, optimizers, state, kept, torch.cat([clones, chosen, chosen]), tail=children)


def _children(params: Params, chosen: Tensor, revised_opacity: bool) -> dict[str, Tensor]:
    """Values of the 2M children of rows `chosen` [M] that are not their parents'."""
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
    """Drop the Gaussians in `mask` [N]."""
    dropped = chosen_rows(params, mask)
    if len(dropped) > 0:
        _gather(params, optimizers, state, torch.where(~mask)[0], dropped[:0])


@torch.no_grad()
def reset_opa(params: Params, optimizers: Optimizers, state: State, value: float) -> None:
    """Lower every opacity to at most `value` in (0, 1) and forget the opacities' moments."""
    if not 0.0 < value < 1.0:
        raise StrategyError(f"reset_opa: value is {value}; an opacity between 0 and 1 is needed")
    params["opacities"].clamp_(max=math.log(value / (1 - value)))
    forget_moments(params, optimizers, names=("opacities",))


@torch.no_grad()
def forget_moments(
    params: Params, optimizers: Optimizers, *, names: tuple[str, ...] | None = None
) -> None:
    """Zero the optimisers' moments of the named parameters (all when None), in place."""
    for name in names or tuple(optimizers):
        for key, moment in optimizers[name].state.get(params[name], {}).items():
            if key != "step":
                moment.zero_()


@torch.no_grad()
def relocate(
    params: Params,
    optimizers: Optimizers,
    state: State,
    mask: Tensor,
    binoms: Tensor | None = None,
    min_opacity: float = 0.005,
) -> None:
    """Move the dead Gaussians in `mask` [N] onto live ones, sampled by opacity (arXiv 2404.09591).

    Like gsplat, the sampled ones lose their moments and statistics, the moved ones keep theirs.
    `binoms` is accepted for gsplat's signature; its width is the most copies of one Gaussian.
    """
    dead = chosen_rows(params, mask)
    alive = torch.where(~mask)[0]
    if len(dead) == 0:
        return
    if len(alive) == 0:
        raise StrategyError(f"relocate: all {len(dead)} Gaussians are dead; none is left to copy")
    opacities = params["opacities"].flatten().sigmoid()
    sampled = alive[sample_with_replacement(opacities[alive], len(dead))]
    values = _shared_among_copies(params, sampled, binoms, min_opacity)
    for name, value in values.items():
        params[name][sampled] = value
    _copy_rows(params, optimizers, state, dead, sampled)


def _copy_rows(
    params: Params, optimizers: Optimizers, state: State, targets: Tensor, sources: Tensor
) -> None:
    """Copy rows `sources` of parameters to rows `targets`; the sources lose what was gathered.

    Tensors stay where they are: a refinement that moves a few Gaussians need not copy them all.
    Like every operation it makes new parameters. Gradients of both, of what they were before, are
    zeroed.
    """
    with_rows = rows_of(state, count(params))
    for name, old in list(params.items()):
        value = old.detach()
        value[targets] = value[sources]
        new = torch.nn.Parameter(value, requires_grad=old.requires_grad)
        if old.grad is not None:
            new.grad = old.grad
            new.grad[targets] = 0
            new.grad[sources] = 0
        params[name] = new
        if name in optimizers:
            _hand_over(optimizers[name], old, new)
            for moment in _moments(optimizers[name], new):
                moment[sources] = 0
    for name in with_rows:
        state[name][sources] = 0


@torch.no_grad()
def sample_add(
    params: Params,
    optimizers: Optimizers,
    state: State,
    n: int,
    binoms: Tensor | None = None,
    min_opacity: float = 0.005,
) -> None:
    """Append `n` copies of Gaussians sampled by opacity (arXiv 2404.09591, Eq. 9).

    The new rows' moments and statistics are zero; the sampled ones keep theirs, as in gsplat.
    """
    if n <= 0:
        return
    sampled = sample_with_replacement(params["opacities"].flatten().sigmoid(), n)
    for name, value in _shared_among_copies(params, sampled, binoms, min_opacity).items():
        params[name][sampled] = value
    _gather(params, optimizers, state, None, sampled, copies_statistics=False)


@torch.no_grad()
def inject_noise_to_position(
    params: Params, optimizers: Optimizers, state: State, scaler: float
) -> None:
    """Move each mean by its covariance times noise, most where opacity is low (2404.09591, Eq. 8).

    `scaler` is the means' learning rate times the noise rate.
    """
    del optimizers, state
    opacities = params["opacities"].flatten().sigmoid()
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
    """Replace rows `chosen` [M] by 2M children, whose `values` have 2M rows (others are copied).

    The order becomes `[others, first children, second children]`; children's moments are zero.
    """
    is_kept = torch.ones(count(params), dtype=torch.bool, device=chosen.device)
    is_kept[chosen] = False
    children = torch.cat([chosen, chosen])
    _gather(params, optimizers, state, torch.where(is_kept)[0], children, tail=values)


@torch.no_grad()
def rebuild(
    params: Params, optimizers: Optimizers, state: State, values: Mapping[str, Tensor]
) -> None:
    """Replace the whole model by `values` (every parameter, N' rows) and forget all moments.

    Statistics of N rows become zeros of N' rows, and so do gradients.
    """
    missing = sorted(set(params) - set(values))
    if missing:
        raise StrategyError(f"rebuild: values for {missing} are missing")
    with_rows, after = rows_of(state, count(params)), len(values["means"])
    for name, old in list(params.items()):
        new = torch.nn.Parameter(values[name].detach().to(old), requires_grad=old.requires_grad)
        if old.grad is not None:
            new.grad = torch.zeros_like(new)
        params[name] = new
        if name in optimizers:
            optimizers[name].state.pop(old, None)
            optimizers[name].param_groups[0]["params"] = [new]
    for name in with_rows:
        state[name] = state[name].new_zeros(after, *state[name].shape[1:])


def compute_relocation(opacities: Tensor, scales: Tensor, ratios: Tensor) -> tuple[Tensor, Tensor]:
    """Opacity [M] and scales [M,3] of each of `ratios` [M] copies that look like one Gaussian.

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
    """Indices [n] drawn in proportion to `weights` [N], for any N."""
    if len(weights) <= _MULTINOMIAL_LIMIT:
        return torch.multinomial(weights, n, replacement=True)
    cumulative = weights.double().cumsum(0)
    draws = torch.rand(n, device=weights.device, dtype=torch.float64) * cumulative[-1]
    return torch.searchsorted(cumulative, draws, right=True).clamp_max(len(weights) - 1)


def sample_without_replacement(weights: Tensor, n: int) -> Tensor:
    """At most `n` distinct indices, drawn in proportion to positive `weights` [N], for any N.

    The n largest of log w + Gumbel noise are such a sample (Vieira 2014; Kool et al.,
    arXiv 1903.06059). Zero weights are never drawn.
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
    """The value [] below which a share `q` lies (lower), for any size.

    `torch.quantile` refuses inputs of more than 2^24 elements.
    """
    if not len(values):
        raise StrategyError("quantile of no values")
    rank = min(len(values) - 1, max(0, math.floor(q * (len(values) - 1))))
    return values.sort().values[rank]


def _shared_among_copies(
    params: Params, sampled: Tensor, binoms: Tensor | None, min_opacity: float
) -> dict[str, Tensor]:
    """Opacity logits and log-scales for rows `sampled` and their copies."""
    most = 51 if binoms is None else binoms.shape[0]
    ratios = (torch.bincount(sampled)[sampled] + 1).clamp(1, most)
    opacities, scales = compute_relocation(
        params["opacities"].flatten()[sampled].sigmoid(), params["scales"][sampled].exp(), ratios
    )
    eps = torch.finfo(torch.float32).eps
    logits = torch.logit(opacities.clamp(min_opacity, 1.0 - eps))
    shape = (-1, *params["opacities"].shape[1:])
    return {"opacities": logits.reshape(shape), "scales": scales.log()}


def chosen_rows(params: Params, mask: Tensor) -> Tensor:
    """Rows in `mask`, which must be boolean with one entry for each Gaussian."""
    if mask.dtype != torch.bool or mask.shape != (count(params),):
        raise StrategyError(
            f"a mask of {len(mask)} entries ({str(mask.dtype).removeprefix('torch.')}) was given"
            f" for {count(params)} Gaussians; make it after the last operation, boolean, shape [N]"
        )
    return torch.where(mask)[0]


def _joined(tensor: Tensor, kept: Tensor | None, added: Tensor, *, copies: bool) -> Tensor:
    """Rows `kept` (None: all) of `tensor`, then rows `added`, or zeros in place of these."""
    num = len(tensor) if kept is None else len(kept)
    new = tensor.new_empty(num + len(added), *tensor.shape[1:])
    if kept is None:
        new[:num] = tensor
    else:
        torch.index_select(tensor, 0, kept, out=new[:num])
    new[num:] = tensor[added] if copies else 0
    return new


def _gather(
    params: Params,
    optimizers: Optimizers,
    state: State,
    kept: Tensor | None,
    added: Tensor,
    *,
    copies_statistics: bool = True,
    tail: Mapping[str, Tensor] | None = None,
) -> None:
    """Let rows `kept` (None: all) stay, and append copies of rows `added`.

    The copies' moments and gradients are zero; so are their statistics in `state`, if they are not
    copied too. `tail` overrides the last rows of parameters.
    """
    with_rows = rows_of(state, count(params))
    for name, old in list(params.items()):
        value = _joined(old.detach(), kept, added, copies=True)
        if tail is not None and name in tail:
            value[len(value) - len(tail[name]) :] = tail[name].to(value.dtype)
        new = torch.nn.Parameter(value, requires_grad=old.requires_grad)
        if old.grad is not None:
            new.grad = _joined(old.grad, kept, added, copies=False)
        params[name] = new
        if name in optimizers:
            _move_optimizer(optimizers[name], old, new, kept, added)
    for name in with_rows:
        state[name] = _joined(state[name], kept, added, copies=copies_statistics)


def _move_optimizer(
    optimizer: torch.optim.Optimizer, old: Tensor, new: Tensor, kept: Tensor | None, added: Tensor
) -> None:
    """Let `optimizer` train `new` in place of `old`, with the moments of the rows that stay."""
    _hand_over(optimizer, old, new)
    entries = optimizer.state.get(new, {})
    for key, value in entries.items():
        if isinstance(value, Tensor) and value.shape == old.shape:
            entries[key] = _joined(value, kept, added, copies=False)


def _hand_over(optimizer: torch.optim.Optimizer, old: Tensor, new: Tensor) -> None:
    """Let `optimizer` train `new` in place of `old`, with its state as it is."""
    entries = optimizer.state.pop(old, {})
    optimizer.param_groups[0]["params"] = [new]
    if entries:
        optimizer.state[new] = entries


def _moments(optimizer: torch.optim.Optimizer, parameter: Tensor) -> list[Tensor]:
    """The entries of its state that have a row for each of the parameter's."""
    entries = optimizer.state.get(parameter, {}).values()
    return [one for one in entries if isinstance(one, Tensor) and one.shape == parameter.shape]
