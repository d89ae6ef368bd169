"""Several processes that hold the same Gaussians, and render different views of a step.

The gradients of an update are the sums of all processes', and a strategy is told of all views, so
that each process makes the same step and takes the same decisions. Should two differ in the last
bits of a sum, and so decide otherwise, what the first one has counts.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from gs_densify.distributed.group import ALONE, Group
from gs_densify.errors import StrategyError
from gs_densify.model.gaussians import Gaussians, Params
from gs_densify.rendering.attribution.views import SharedViews
from gs_densify.strategies.base import StepInfo
from gs_densify.training.batches import Batch

_OF_VIEWS = ("radii", "depths", "conics", "opacities", "image", "render")
"""Entries [C, ...] of `info`, which are brought together when they are read, besides means2d."""

_OF_TILES = ("tiles_per_gauss", "isect_ids", "flatten_ids", "isect_offsets", "num_pairs")
"""Entries about this process's views alone, which only attribution reads."""


_MOST = 3
"""Tensors of a parameter: itself and two moments."""


class _OfOneProcess(StrategyError, KeyError):
    """An entry that there is not, with the reason."""


class InfoOfAll(SharedViews, MutableMapping[str, Any]):
    """What a step tells its strategy of the views of all processes, where it asks.

    All processes ask the same. Until `means2d` has its gradients it is of this process's views.
    What is written is read as it is.
    """

    def __init__(
        self,
        entries: Mapping[str, Any],
        part: slice,
        joined: Callable[[Tensor], Tensor],
        group: Group = ALONE,
    ) -> None:
        """Takes `entries` about this process's views, which of all views these are, what brings
        those of all together, and the processes.
        """
        self.own, self.joined, self._part = entries, joined, part
        self.summed, self.maxima = group.summed, group.maxima
        self._entries = {name: one for name, one in entries.items() if name not in _OF_TILES}
        self._is_open = {*_OF_VIEWS} & self._entries.keys()

    @property
    def is_idle(self) -> bool:
        """Returns whether this process has no view, and has rendered the first one in vain."""
        return self._part.start == self._part.stop

    def of_own(self, rows: Tensor) -> Tensor:
        """Returns those rows [C, ...] of all views that are of the views in `own`."""
        return rows[:1] if self.is_idle else rows[self._part]

    def is_unread(self, *names: str) -> bool:
        """Returns whether these entries are yet to be brought together, and nobody has written
        them.
        """
        return self._is_open.issuperset(names)

    def has_gradients(self) -> None:
        """Hears that the backward pass is over."""
        means2d = self._entries.get("means2d")
        if means2d is not None and means2d is self.own.get("means2d"):  # else written
            self._is_open.add("means2d")

    def __getitem__(self, name: str) -> Any:
        """Returns an entry, about all views."""
        if name in self._is_open:
            found = self._entries[name]
            self[name] = self._means(found) if name == "means2d" else self.joined(found)
        if name in _OF_TILES and name not in self:
            raise _OfOneProcess(
                f"info['{name}'] is of the views of one process, and several share those of a step",
                expected="a strategy that reads it needs all of them",
                action="read top_contributors or contributions of"
                " gs_densify.rendering.attribution.contributors,"
                " or train with --gpus 1",
            )
        return self._entries[name]

    def __setitem__(self, name: str, value: Any) -> None:
        """Replaces an entry, or adds one."""
        self._is_open.discard(name)
        self._entries[name] = value

    def __delitem__(self, name: str) -> None:
        """Removes an entry."""
        del self._entries[name]
        self._is_open.discard(name)

    def __iter__(self) -> Iterator[str]:
        """Yields the names."""
        return iter(self._entries)

    def __len__(self) -> int:
        """Returns the number of entries."""
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        """Returns whether there is an entry, which is not read."""
        return name in self._entries

    def __or__(self, others: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a plain dictionary of all entries, and others in their place."""
        return {**self, **others}

    def __ror__(self, others: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a plain dictionary of others, and all entries in their place."""
        return {**others, **self}

    def __ior__(self, others: Mapping[str, Any]) -> InfoOfAll:
        """Replaces entries, or adds them."""
        self.update(others)
        return self

    def copy(self) -> dict[str, Any]:
        """Returns a plain dictionary of all entries."""
        return dict(self)

    __copy__ = copy

    def __repr__(self) -> str:
        """Returns the names of the entries, which are not read."""
        return f"{type(self).__name__}({', '.join(self)})"

    def _means(self, means2d: Tensor) -> Tensor:
        """Returns the projected means with those gradients that they have."""
        found = self.joined(means2d.detach())
        if means2d.retains_grad and means2d.grad is not None:
            found.grad = self.joined(means2d.grad)
        if getattr(means2d, "absgrad", None) is not None:
            found.absgrad = self.joined(means2d.absgrad)  # type: ignore[attr-defined]
        return found


class Replicas:
    """The processes of a `group` that hold the same Gaussians; one alone does nothing here."""

    def __init__(self, group: Group) -> None:
        self.group = group

    @property
    def share(self) -> float:
        """Returns the share of each process in what all of them find out about the Gaussians."""
        return 1 / self.group.size

    def own(self, of_views: list[float], batch: Batch) -> list[float]:
        """Returns those of numbers of all views that are of the views in `info` of a rasteriser."""
        return of_views if self.group.size == 1 else of_views[batch.part]

    def info(self, entries: StepInfo, batch: Batch) -> StepInfo:
        """Returns what a strategy is told of a step: `entries` about the views of all processes."""
        if self.group.size == 1:
            return entries
        counts = self.group.shares(len(batch.indices))
        joined = partial(self.group.joined_rows, counts=counts)
        told = InfoOfAll(entries, batch.part, joined, self.group)
        told["n_cameras"] = len(batch.indices)
        return cast(StepInfo, told)

    def after_backward(self, info: StepInfo, aux: Tensor | None) -> None:
        """Has `info` show gradients, and what was attributed [N, M] by the views of all processes.

        That is the gradient of `aux`.
        """
        if isinstance(info, InfoOfAll):
            info.has_gradients()
        if aux is not None:
            attributed = torch.zeros_like(aux) if aux.grad is None else aux.grad
            info["attributed"] = self.group.summed(attributed)

    def sum_gradients(self, params: Params) -> Iterator[tuple[str, ...]]:
        """Makes the gradients those of all views; yields names of parameters whose gradient is.

        The largest comes first: its update goes on while the others are summed. A process alone
        yields all names at once.
        """
        if self.group.size == 1:
            yield tuple(params)
            return
        trained = {name: value for name, value in params.items() if value.grad is not None}
        names = sorted(trained, key=lambda name: -trained[name].numel())
        for value in trained.values():
            value.grad = value.grad.contiguous()
        for name, _ in zip(names, self.group.sums([trained[n].grad for n in names]), strict=True):
            yield (name,)

    def collect_gradients(self, params: Params) -> None:
        """Gives those that were summed over steps to the first process; others go on from zero."""
        for _ in self.sum_gradients(params):
            pass
        self.leave_gradients(params)

    def leave_gradients(self, params: Params) -> None:
        """Zeroes gradients on all processes but the first, which has those of all."""
        for value in params.values():
            if value.grad is not None and not self.group.is_first:
                value.grad.zero_()

    def marks(self, gaussians: Gaussians) -> list[_Mark]:
        """Returns what tells `agree` which parameters and moments have changed since."""
        return [] if self.group.size == 1 else [_Mark(one) for one in _tensors(gaussians)]

    def agree(self, gaussians: Gaussians, before: list[_Mark]) -> None:
        """Takes what a hook has changed since `before`, on any process, from the first one."""
        if self.group.size == 1:
            return
        now = _tensors(gaussians)
        is_replaced = len(now) != len(before) or any(
            one is not mark.tensor() for one, mark in zip(now, before, strict=True)
        )
        changed = [not is_replaced and mark.is_changed(now[i]) for i, mark in enumerate(before)]
        changed += [False] * (_MOST * len(gaussians.params) - len(changed))
        is_replaced, *changed = self.group.any_of([is_replaced, *changed])
        if is_replaced:
            self.align(gaussians)
            return
        for tensor, is_changed in zip(now, changed, strict=False):
            if is_changed:
                self.group.from_first(tensor.detach())

    def align(self, gaussians: Gaussians) -> None:
        """Takes the whole model from the first process where those of two differ, and what is drawn
        next: one that decides otherwise may have drawn more.
        """
        if self.group.size == 1 or self.group.have_same(_fingerprint(gaussians.params)):
            return
        device = gaussians.params["means"].device
        own = {"model": gaussians.state_dict(), "random": _random_state(device)}
        found = self.group.tree_from_first(own, device)
        if not self.group.is_first:
            gaussians.load_state_dict(found["model"])
            _draw_as(found["random"], device)


class _Mark:
    """A tensor, which it does not keep, and what tells whether it was written to."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = weakref.ref(tensor)
        self._before = tensor._version, tensor.data_ptr()

    def is_changed(self, tensor: Tensor) -> bool:
        """Returns whether it was."""
        return (tensor._version, tensor.data_ptr()) != self._before


def _tensors(gaussians: Gaussians) -> list[Tensor]:
    """Returns the parameters, and those moments that there are, in one order on all processes."""
    found = list(gaussians.params.values())
    for name, optimizer in gaussians.optimizers.items():
        entries = optimizer.state.get(gaussians.params[name], {})
        found += [entries[key] for key in sorted(entries) if _is_moment(entries[key])]
    return found


def _is_moment(entry: object) -> bool:
    return isinstance(entry, Tensor) and entry.dim() > 0


def _fingerprint(params: Params) -> list[int]:
    """Returns numbers that differ where parameters do, whatever the device."""
    sums = [value.detach().view(torch.int32).sum() for value in params.values()]
    return [len(params["means"]), *torch.stack(sums).tolist()]


def _random_state(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    return states if device.type == "cpu" else [*states, torch.cuda.get_rng_state(device)]


def _draw_as(states: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if device.type != "cpu":
        torch.cuda.set_rng_state(states[1], device)
