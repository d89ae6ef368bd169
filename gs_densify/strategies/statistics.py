"""Per-Gaussian statistics of a step, gathered without waiting for the GPU."""

from collections.abc import MutableMapping
from typing import Any

import torch
from torch import Tensor


def pixel_gradients(info: dict[str, Any], *, absolute: bool) -> Tensor:
    """Norms of the image-plane gradients in half-image units, [C,N] or [nnz] when packed.

    The scaling is that of 3DGS's thresholds: a gradient with respect to normalised device
    coordinates, and of one view's mean loss, whatever the batch.
    """
    means2d = info["means2d"]
    grads = means2d.absgrad if absolute else means2d.grad
    # Plain numbers, since a tensor made of them would wait for the GPU at every step.
    across, down = (info["n_cameras"] * info[side] / 2.0 for side in ("width", "height"))
    return torch.hypot(grads[..., 0] * across, grads[..., 1] * down)


def visible(info: dict[str, Any]) -> Tensor:
    """Which Gaussians a view draws, bool [C,N], or [nnz] when packed."""
    return (info["radii"] > 0).all(dim=-1)


def sum_over_views(values: Tensor, info: dict[str, Any], count: int, *, packed: bool) -> Tensor:
    """Per-Gaussian sums [N] of values [C,N] (unpacked) or [nnz] (packed)."""
    if not packed:
        return values.sum(dim=0)
    return values.new_zeros(count).index_add_(0, info["gaussian_ids"], values)


def max_over_views(values: Tensor, info: dict[str, Any], count: int, *, packed: bool) -> Tensor:
    """Per-Gaussian maxima [N] of non-negative values [C,N] (unpacked) or [nnz] (packed)."""
    if not packed:
        return values.amax(dim=0)
    zeros = values.new_zeros(count)
    return zeros.scatter_reduce_(0, info["gaussian_ids"], values, "amax")


def screen_radii(info: dict[str, Any]) -> Tensor:
    """Radii as a share of the longer image side, [C,N] or [nnz]."""
    return info["radii"].amax(dim=-1).float() / float(max(info["width"], info["height"]))


def zeros_like_rows(state: MutableMapping[str, Any], names: tuple[str, ...], means: Tensor) -> None:
    """Create the named float32 statistics [N] on first use."""
    for name in names:
        if state.get(name) is None:
            state[name] = torch.zeros(len(means), device=means.device)


def accumulate_gradients(
    state: MutableMapping[str, Any],
    count: int,
    info: dict[str, Any],
    *,
    absolute: bool,
    packed: bool,
) -> None:
    """Add a step to `grad2d` [N], sums of gradient norms, and `count` [N], views that saw."""
    seen = visible(info)
    grads = pixel_gradients(info, absolute=absolute) * seen
    state["grad2d"] += sum_over_views(grads, info, count, packed=packed)
    state["count"] += sum_over_views(seen.float(), info, count, packed=packed)
