"""Per-Gaussian statistics of a step, gathered without waiting for the GPU."""

from collections.abc import MutableMapping
from typing import Any

import torch
from torch import Tensor

from gs_densify.kernels import HAS_TRITON
from gs_densify.model.state import State
from gs_densify.strategies.base import StepInfo


def pixel_gradients(info: StepInfo, *, absolute: bool) -> Tensor:
    """Returns norms of the image-plane gradients in half-image units, [C,N] or [nnz] (packed).

    The scaling is that of 3DGS's thresholds: a gradient with respect to normalised device
    coordinates, and of one view's mean loss, whatever the batch.
    """
    grads, (across, down) = _gradients(info, absolute), _to_half_images(info)
    return torch.hypot(grads[..., 0] * across, grads[..., 1] * down)


def _gradients(info: StepInfo, absolute: bool) -> Tensor:
    means2d = info["means2d"]
    return means2d.absgrad if absolute else means2d.grad


def _to_half_images(info: StepInfo) -> tuple[float, float]:
    """Returns plain numbers, since a tensor made of them would wait for the GPU at every step."""
    return info["n_cameras"] * info["width"] / 2.0, info["n_cameras"] * info["height"] / 2.0


def visible(info: StepInfo) -> Tensor:
    """Returns which Gaussians a view draws, bool [C,N], or [nnz] when packed."""
    return (info["radii"] > 0).all(dim=-1)


def sum_over_views(values: Tensor, info: StepInfo, count: int, *, packed: bool) -> Tensor:
    """Returns sums [N] of values [C,N] (unpacked) or [nnz] (packed)."""
    if not packed:
        return values.sum(dim=0)
    return values.new_zeros(count).index_add_(0, info["gaussian_ids"], values)


def max_over_views(values: Tensor, info: StepInfo, count: int, *, packed: bool) -> Tensor:
    """Returns maxima [N] of non-negative values [C,N] (unpacked) or [nnz] (packed)."""
    if not packed:
        return values.amax(dim=0)
    zeros = values.new_zeros(count)
    return zeros.scatter_reduce_(0, info["gaussian_ids"], values, "amax")


def screen_radii(info: StepInfo) -> Tensor:
    """Returns radii as a share of the longer image side, [C,N] or [nnz]."""
    return info["radii"].amax(dim=-1).float() / float(max(info["width"], info["height"]))


def zeros_like_rows(state: MutableMapping[str, Any], names: tuple[str, ...], means: Tensor) -> None:
    """Creates the named float32 statistics [N] on first use."""
    if isinstance(state, State):
        state.declare(names)
    for name in names:
        if state.get(name) is None:
            state[name] = torch.zeros(len(means), device=means.device)


def accumulate_gradients(
    state: MutableMapping[str, Any],
    count: int,
    info: StepInfo,
    *,
    absolute: bool,
    packed: bool,
    total: str = "grad2d",
    views: str = "count",
    largest: str | None = None,
) -> None:
    """Adds a step to statistics [N] of `state`, named by the last three arguments.

    Args:
        state: has the statistics.
        count: N.
        info: of the rasteriser, after the backward pass.
        absolute: of absolute gradients.
        packed: whether `info` has a row for each pair of a view and a Gaussian that it draws.
        total: sums of the norms that `pixel_gradients` gives, over the views that draw a Gaussian.
        views: how many these are.
        largest: the largest of the norms; None keeps none.
    """
    grads = _gradients(info, absolute)
    highest = None if largest is None else state[largest]
    if not packed and _fit_the_kernel(grads, count, state[total], state[views], highest):
        from gs_densify.strategies.statistics_triton import accumulate

        accumulate(grads, info["radii"], _to_half_images(info), state[total], state[views], highest)
        return
    seen = visible(info)
    norms = pixel_gradients(info, absolute=absolute) * seen
    state[total] += sum_over_views(norms, info, count, packed=packed)
    state[views] += sum_over_views(seen.float(), info, count, packed=packed)
    if highest is not None:
        latest = max_over_views(norms, info, count, packed=packed)
        torch.maximum(highest, latest, out=highest)


def _fit_the_kernel(grads: Tensor, count: int, *statistics: Tensor | None) -> bool:
    """Returns whether the kernel, which reads and writes plain rows of float32, gives what torch
    would.
    """
    return (
        (HAS_TRITON and grads.is_cuda and grads.dtype == torch.float32)
        and grads.shape[1] == count
        and all(
            one.shape == (count,) and one.dtype == torch.float32 and one.is_contiguous()
            for one in statistics
            if one is not None
        )
    )
