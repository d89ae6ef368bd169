"""The optimisers' steps: each by the gradients of one step of training, or the sum of several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from gs_densify.distributed.group import Group
from gs_densify.model import adam
from gs_densify.model.gaussians import Gaussians, Params
from gs_densify.model.row_gradients import has_row
from gs_densify.training.modules.base import Modules
from gs_densify.training.replicas import Replicas


class Updates:
    """Updates Gaussians and what is trained beside them."""

    def __init__(
        self,
        gaussians: Gaussians,
        modules: Modules,
        replicas: Replicas,
        group: Group,
        *,
        visible_only: bool,
    ) -> None:
        """Takes all processes that train; with `visible_only` it updates none but those Gaussians
        that one of the summed steps drew.
        """
        self._gaussians, self._modules = gaussians, modules
        self._replicas, self._group = replicas, group
        self._visible_only = visible_only
        self.summed = 0
        """Steps whose gradients the parameters hold."""
        self._drawn: Tensor | None = None
        """[N], the Gaussians that any of these steps drew."""
        self._is_due = False

    def in_backward(self) -> adam.UpdateInBackward | None:
        """Returns the optimisers' steps for a backward pass to make that ends with an update.

        None where it does not have the whole gradient, as other processes add to it, or where a
        mask chooses among its rows.
        """
        if self._visible_only or self._group.size > 1:
            return None
        return adam.UpdateInBackward(self._gaussians.optimizers, is_due=lambda: self._is_due)

    @contextmanager
    def backward_pass(self) -> Iterator[None]:
        """Has the backward pass in its body make the steps that were handed over, and no other."""
        self._is_due = True
        try:
            yield
        finally:
            self._is_due = False

    def add(self, count: int, info: Mapping[str, Any]) -> None:
        """Hears that the parameters hold the gradients of `count` further steps."""
        if self._visible_only:
            drawn = (info["radii"] > 0).all(-1).any(0)
            self._drawn = drawn if self._drawn is None else self._drawn | drawn
        self.summed += count

    def step(self) -> None:
        """Steps the optimisers by what is summed, but for steps that the backward pass has made."""
        optimizers = self._gaussians.optimizers
        for names in self._replicas.sum_gradients(self._gaussians.params):
            adam.update({n: optimizers[n] for n in names if n in optimizers}, self._drawn)
        self._modules.update(self._group)
        self._drawn, self.summed = None, 0

    def find_drawn(self) -> None:
        """Tells those that were drawn by their gradients, once an operation has moved the rows."""
        if self._visible_only:
            params = self._gaussians.params.values()
            gradients = [value.grad for value in params if value.grad is not None]
            self._drawn = torch.stack([has_row(one) for one in gradients]).any(dim=0)

    def collect(self) -> None:
        """Gives the gradients to the first process, amid steps whose gradients are summed."""
        if self.summed:
            for replicas, trained in self._trained():
                replicas.collect_gradients(trained)

    def state_dict(self) -> dict[str, Any]:
        """Returns what is known of the gradients, which parameters hold themselves."""
        return {"summed": self.summed, "drawn": self._drawn}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state_dict` was taken, with the gradients that parameters have now."""
        drawn, device = state["drawn"], self._gaussians.params["means"].device
        self.summed, self._drawn = state["summed"], None if drawn is None else drawn.to(device)
        for replicas, trained in self._trained():
            replicas.leave_gradients(trained)

    def _trained(self) -> list[tuple[Replicas, Params]]:
        """Returns what is trained, each with the processes that hold it alike: modules all do."""
        every = Replicas(self._group)
        modules = [(every, parameters) for parameters in self._modules.parameters()]
        return [(self._replicas, self._gaussians.params), *modules]
