"""Gradients of some rows of a parameter: sparse tensors [N, ...] of torch, by their first axis.

Rows that they do not have are not zero: no view of the step saw them, and an optimiser leaves them
as they are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class Rows(torch.autograd.Function):
    """Takes a parameter [N, ...] and different rows of it [R], rising; returns these, [R, ...].

    The parameter's gradient is of these rows alone.
    """

    @staticmethod
    def forward(ctx: Any, parameter: Tensor, rows: Tensor) -> Tensor:
        """Gathers."""
        ctx.save_for_backward(rows)
        ctx.shape = parameter.shape
        return parameter.index_select(0, rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Returns the gradient of the rows."""
        (rows,) = ctx.saved_tensors
        return of_rows(rows, gradient, ctx.shape), None


def of_rows(rows: Tensor, values: Tensor, shape: torch.Size) -> Tensor:
    """Returns the gradient of a parameter of `shape` that has `values` in different, rising
    rows.
    """
    return torch.sparse_coo_tensor(
        rows[None], values, shape, is_coalesced=True, check_invariants=False
    )


def without(gradient: Tensor, rows: Tensor) -> Tensor:
    """Returns the gradient without those of its rows that are in `rows`, in any order."""
    gradient = gradient.coalesce()
    own = gradient.indices()[0]
    stays = torch.ones(len(gradient), dtype=torch.bool, device=own.device)
    stays[rows] = False
    is_kept = stays[own]
    return of_rows(own[is_kept], gradient.values()[is_kept], gradient.shape)


def gathered(gradient: Tensor, kept: Tensor | None, added: int) -> Tensor:
    """Returns the gradient of a parameter of which rows `kept` (None: all) stay, before `added`
    ones, of which it has none.
    """
    gradient = gradient.coalesce()
    own, count = gradient.indices()[0], len(gradient)
    kept = torch.arange(count, device=own.device) if kept is None else kept
    place = own.new_full((count,), -1)
    place[own] = torch.arange(len(own), device=own.device)
    source = place[kept]
    rows = torch.where(source >= 0)[0]
    shape = torch.Size([len(kept) + added, *gradient.shape[1:]])
    return of_rows(rows, gradient.values()[source[rows]], shape)


def has_row(gradient: Tensor) -> Tensor:
    """Returns which rows [N] (bool) of a gradient, dense or of rows, are not all zero."""
    if not gradient.is_sparse:
        return gradient.reshape(len(gradient), -1).any(dim=1)
    gradient = gradient.coalesce()
    found = torch.zeros(len(gradient), dtype=torch.bool, device=gradient.device)
    found[gradient.indices()[0]] = gradient.values().flatten(1).any(dim=1)
    return found
