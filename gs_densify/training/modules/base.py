"""What is trained beside the Gaussians: its parameters, optimiser and state, and where it applies.

A module changes the cameras before a view is rendered, or the picture after it. Its optimiser steps
with those of the Gaussians. It knows training views by their index; held-out views are rendered
without it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gs_densify.distributed.group import ALONE, Group


class TrainableModule(torch.nn.Module):
    """A module that changes nothing: what derives from it overrides what it needs."""

    learning_rate: float = 1e-3

    def __init__(self, num_views: int) -> None:
        """Makes the parameters for `num_views` training views."""
        super().__init__()
        self.num_views = num_views

    def cameras(self, viewmats: Tensor, views: Sequence[int]) -> Tensor:
        """Returns the world-to-camera matrices [C,4,4] to render the training views with."""
        return viewmats

    def image(self, render: Tensor, views: Sequence[int]) -> Tensor:
        """Returns the renders [C,H,W,3] as they are compared with the photos."""
        return render

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Returns the optimiser of its parameters."""
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)


class Modules:
    """The modules of a run with their optimisers, applied in order."""

    def __init__(self, modules: dict[str, TrainableModule]) -> None:
        self.modules = modules
        self.optimizers = {name: one.make_optimizer() for name, one in modules.items()}

    def cameras(self, viewmats: Tensor, views: Sequence[int]) -> Tensor:
        """Returns the matrices [C,4,4] after all modules."""
        for module in self.modules.values():
            viewmats = module.cameras(viewmats, views)
        return viewmats

    def image(self, render: Tensor, views: Sequence[int]) -> Tensor:
        """Returns the renders [C,H,W,3] after all modules."""
        for module in self.modules.values():
            render = module.image(render, views)
        return render

    def parameters(self) -> list[dict[str, Any]]:
        """Returns the parameters of each module, with gradients: those of no view are zero."""
        found = [dict(module.named_parameters()) for module in self.modules.values()]
        for value in (value for parameters in found for value in parameters.values()):
            if value.grad is None:
                value.grad = torch.zeros_like(value)
        return found

    def update(self, group: Group = ALONE) -> None:
        """Steps the optimisers and drops the gradients, which are summed over a group before."""
        if group.size > 1:
            for parameters in self.parameters():
                for value in parameters.values():
                    group.summed(value.grad)
        for optimizer in self.optimizers.values():
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """Returns parameters, summed gradients and optimisers of each module, for a checkpoint."""
        return {
            name: {
                "parameters": module.state_dict(),
                "gradients": {
                    key: value.grad
                    for key, value in module.named_parameters()
                    if value.grad is not None
                },
                "optimizer": self.optimizers[name].state_dict(),
            }
            for name, module in self.modules.items()
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where `state_dict` was taken."""
        for name, module in self.modules.items():
            module.load_state_dict(state[name]["parameters"])
            for key, value in module.named_parameters():
                gradient = state[name]["gradients"].get(key)
                value.grad = None if gradient is None else gradient.to(value, copy=True)
            self.optimizers[name].load_state_dict(state[name]["optimizer"])
