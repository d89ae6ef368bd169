"""Per-Gaussian statistics of a step, gathered without waiting for the GPU."""

from collections.abc import MutableMapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from gs_densify.kernels import HAS_TRITON
from gs_densify.model.state import State
from gs_densify.rendering.attribution.views import SharedViews
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


_SIZES = ("n_cameras", "width", "height")


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
    kept = _Sums(state[total], state[views], None if largest is None else state[largest])
    if isinstance(info, SharedViews) and info.is_unread("means2d", "radii"):
        _add_of_all(kept, count, info, absolute)
    else:
        _add(kept, count, info, absolute, packed)


class _Sums(NamedTuple):
    """Of gradients' norms, of views, and the largest norms: [N] each."""

    total: Tensor
    views: Tensor
    largest: Tensor | None


def _add_of_all(kept: _Sums, count: int, info: SharedViews, absolute: bool) -> None:
    """Has each process add up its own views, and brings three numbers a Gaussian together."""
    sums, largest = kept.total.new_zeros(2, count), kept.total.new_zeros(count)
    if not info.is_idle:
        own = cast(StepInfo, {**info.own, **{name: info[name] for name in _SIZES}})
        highest = None if kept.largest is None else largest
        _add(_Sums(sums[0], sums[1], highest), count, own, absolute, packed=False)
    total, views = info.summed(sums)
    kept.total.add_(total)
    kept.views.add_(views)
    if kept.largest is not None:
        torch.maximum(kept.largest, info.maxima(largest), out=kept.largest)


def _add(kept: _Sums, count: int, info: StepInfo, absolute: bool, packed: bool) -> None:
    grads = _gradients(info, absolute)
    if not packed and _fit_the_kernel(grads, count, *kept):
        from gs_densify.strategies.statistics_triton import accumulate

        accumulate(grads, info["radii"], _to_half_images(info), *kept)
        return
    seen = visible(info)
    norms = pixel_gradients(info, absolute=absolute) * seen
    kept.total.add_(sum_over_views(norms, info, count, packed=packed))
    kept.views.add_(sum_over_views(seen.float(), info, count, packed=packed))
    if kept.largest is not None:
        latest = max_over_views(norms, info, count, packed=packed)
        torch.maximum(kept.largest, latest, out=kept.largest)


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
