"""Records on their way from the processes that hold Gaussians to those that composite views.

Each process projects its Gaussians into the views of all; what a view sees goes to the process of
that view in one all-to-all, and gradients come back in another (Grendel, Zhao et al.,
arXiv 2406.18533, section 4).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gs_densify.distributed.group import Group
from gs_densify.rendering.stages import Records

_WITH_GRADIENT = 4
"""Of the fields of `Records`, the first: means2d, conics, channels and opacities."""


def exchanged(records: Records, group: Group, *, absgrad: bool) -> list[Records]:
    """Returns, for each view of this process, what all processes project into it, [1, M, ...].

    Every process of the group has to call it, and to run its backward pass if one does; one without
    views gets records without rows, through which the gradients of others come back.

    Args:
        records: of this process's Gaussians in all views, of which each process has its part.
        group: the processes.
        absgrad: whether backward sets `means2d.absgrad` of `records`, of what the ranks that
            composite set on the records that they got.
    """
    route = _route(records.radii, group)
    fields = _fields(records)
    received = _Exchange.apply(route, absgrad, *fields)
    found = [Records(*(one[None] for one in parts)) for parts in route.by_view(received)]
    if absgrad:
        route.means2d = [one.means2d for one in found]
    return found


def _fields(records: Records) -> tuple[Tensor, ...]:
    return (
        records.means2d,
        records.conics,
        records.channels,
        records.opacities,
        records.depths,
        records.radii,
    )


@dataclass
class _Route:
    """Which rows go where.

    Attributes:
        group: the processes.
        rows: [M] pairs of a view and a Gaussian that are seen, of all C x N, rank by rank.
        sent: how many of them go to each rank.
        counts: how many come from each rank, for each view of this one; [0] without views.
        means2d: what came, by view; backward reads their absolute gradients.
    """

    group: Group
    rows: Tensor
    sent: list[int]
    counts: list[list[int]]
    means2d: list[Tensor] = field(default_factory=list)

    @property
    def received(self) -> list[int]:
        return [sum(of_views) for of_views in self.counts]

    def by_view(self, fields: Sequence[Tensor]) -> list[list[Tensor]]:
        """Returns received fields [M', ...] by view, each with the ranks' rows in order."""
        if len(self.counts[0]) == 1:
            return [list(fields)]
        flat = [count for of_views in self.counts for count in of_views]
        pieces = [one.split(flat) for one in fields]
        step = len(self.counts[0])
        return [[torch.cat(one[view::step]) for one in pieces] for view in range(step)]

    def absolute_gradients(self, like: Tensor) -> Tensor:
        """Returns what the compositing left on the records that came, [M', 2], as they came."""
        pieces = [[like.new_zeros(0, 2)] for _ in self.counts]
        for view, means2d in enumerate(self.means2d):
            gradient = getattr(means2d, "absgrad", None)
            rows = like.new_zeros(means2d.shape[1], 2) if gradient is None else gradient[0]
            for rank, piece in enumerate(rows.split([one[view] for one in self.counts])):
                pieces[rank].append(piece)
        return torch.cat([piece for of_rank in pieces for piece in of_rank])


def _route(radii: Tensor, group: Group) -> _Route:
    """Finds which pairs [C, N] are seen, and tells the ranks how many they will get."""
    is_seen = (radii > 0).all(dim=-1)
    seen = is_seen.sum(dim=1)
    views = group.shares(len(seen))
    mine = views[group.rank]
    coming = group.exchanged(seen, views, [mine] * group.size)
    both: list[int] = torch.cat([seen, coming]).tolist()
    per_view, flat = both[: len(seen)], both[len(seen) :]
    ends = list(accumulate(views, initial=0))
    sent = [sum(per_view[a:b]) for a, b in pairwise(ends)]
    counts = [flat[rank * mine : (rank + 1) * mine] or [0] for rank in range(group.size)]
    return _Route(group, torch.where(is_seen.flatten())[0], sent, counts)


class _Exchange(torch.autograd.Function):
    """Takes the fields of records [C, N, ...]; returns them for the rows that came, [M', ...]."""

    @staticmethod
    def forward(ctx: Any, route: _Route, absgrad: bool, *fields: Tensor) -> tuple[Tensor, ...]:
        kind = fields[0].dtype
        widths = [math.prod(one.shape[2:]) for one in fields]
        sent = torch.cat(
            [
                one.reshape(-1, width).index_select(0, route.rows).to(kind)
                for one, width in zip(fields, widths, strict=True)
            ],
            dim=1,
        )
        received = route.group.exchanged(sent, route.sent, route.received)
        ctx.route, ctx.widths = route, widths[:_WITH_GRADIENT]
        ctx.shapes = [one.shape for one in fields[:_WITH_GRADIENT]]
        # The very tensor that strategies see: what they read is set on it.
        ctx.means2d = fields[0] if absgrad else None
        found = tuple(
            part.reshape(-1, *one.shape[2:]).to(one.dtype).contiguous()
            for part, one in zip(received.split(widths, dim=1), fields, strict=True)
        )
        ctx.mark_non_differentiable(*found[_WITH_GRADIENT:])
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        route: _Route = ctx.route
        parts = [
            grad.reshape(-1, width)
            for grad, width in zip(grads[:_WITH_GRADIENT], ctx.widths, strict=True)
        ]
        if ctx.means2d is not None:
            parts.append(route.absolute_gradients(parts[0]))
        back = route.group.exchanged(torch.cat(parts, dim=1), route.received, route.sent)
        route.means2d.clear()  # they hold this node, which holds the route
        *own, rest = back.split([*ctx.widths, back.shape[1] - sum(ctx.widths)], dim=1)
        if ctx.means2d is not None:
            ctx.means2d.absgrad = _spread(rest, route.rows, ctx.means2d.shape)
        spread = (
            _spread(one, route.rows, shape) for one, shape in zip(own, ctx.shapes, strict=True)
        )
        return None, None, *spread, None, None


def _spread(values: Tensor, rows: Tensor, shape: torch.Size) -> Tensor:
    """Returns zeros of `shape` [C, N, ...] with `values` [M, ...] in `rows` of the pairs."""
    dense = values.new_zeros(shape[0] * shape[1], values.shape[1])
    return dense.index_copy_(0, rows, values).view(shape)
