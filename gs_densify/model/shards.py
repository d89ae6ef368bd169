"""A model whose Gaussians are shared out to several processes: putting it together, dealing it out.

Both work on what `Gaussians.state_dict` gives, so that a checkpoint is that of one process and can
be gone on with by any number of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from gs_densify.distributed.group import Group

_HOST = torch.device("cpu")


def gathered(contents: Mapping[str, Any], group: Group, totals: Collection[str]) -> dict[str, Any]:
    """Returns the contents with the rows of all processes, on the first one and in host memory.

    Args:
        contents: what `Gaussians.state_dict` gives of this process's Gaussians, and more.
        group: the processes.
        totals: names of statistics that count Gaussians, which are summed.
    """
    if group.size == 1:
        return dict(contents)
    whole = _with_rows(contents, lambda rows: group.gathered(rows, _HOST))
    return _with_totals(whole, totals, lambda count: round(group.total(count)[0]))


def share_of_rows(count: int, group: Group) -> Tensor:
    """Returns which of `count` rows are this process's, rising: drawn at random, alike on all.

    Rows in turn would not do: points that lie in a pattern would make shares that differ, and a
    strategy that shares out its budget would grow one where the other needs it.
    """
    order = torch.randperm(count, generator=torch.Generator().manual_seed(count))
    return order[group.rank :: group.size].sort().values


def dealt(contents: Mapping[str, Any], group: Group, totals: Collection[str]) -> dict[str, Any]:
    """Returns the contents with this process's share of the rows."""
    if group.size == 1:
        return dict(contents)
    mine = share_of_rows(len(contents["splats"]["means"]), group)
    share = _with_rows(contents, lambda rows: rows[mine])
    return _with_totals(share, totals, lambda count: group.shares(count)[group.rank])


def _with_rows(contents: Mapping[str, Any], change: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    """Returns the contents with other rows wherever there is one for each Gaussian."""
    splats, rows = contents["splats"], contents["strategy_rows"] or {"with": ()}

    def changed(values: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
        return {
            name: change(value) if name in names and isinstance(value, Tensor) else value
            for name, value in values.items()
        }

    def stepped(name: str, optimizer: Mapping[str, Any]) -> dict[str, Any]:
        shape = splats[name].shape
        entries = {
            index: changed(
                entry,
                [k for k, one in entry.items() if isinstance(one, Tensor) and one.shape == shape],
            )
            for index, entry in optimizer["state"].items()
        }
        return {**optimizer, "state": entries}

    drawn = contents.get("drawn")
    return {
        **contents,
        "optimizers": {name: stepped(name, one) for name, one in contents["optimizers"].items()},
        "gradients": changed(contents["gradients"], contents["gradients"]),
        "strategy_state": changed(contents["strategy_state"], rows["with"]),
        "drawn": None if drawn is None else change(drawn),
        "splats": changed(splats, splats),
    }


def _with_totals(
    contents: dict[str, Any], totals: Collection[str], change: Callable[[int], int]
) -> dict[str, Any]:
    state = contents["strategy_state"]
    counts = {name: change(state[name]) for name in totals if name in state}
    return {**contents, "strategy_state": {**state, **counts}}
