"""What a term of the loss is: a function of what a call of the rasteriser saw.

The trainer adds `weight * term`; a term says by its attribute `of_views` what it gives. Without it
(or False) it looks at parameters alone and gives one number [], a mean over Gaussians, which counts
once for each step.
With True it gives a number for each view [C], a mean over all pixels of the view, which is weighted
as the photometric loss is: a step's is the mean over its views.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from gs_densify.errors import ConfigError
from gs_densify.model.gaussians import Params
from gs_densify.training.batches import Batch


@dataclass(frozen=True)
class LossInputs:
    """What a term may look at. Images of masked pixels are the photo's, so that they differ by 0.

    Attributes:
        params: `means [N,3], scales [N,3] (log), quats [N,4], opacities [N] (logit), sh0, shN`.
        render: [C,H,W,3], of the views that this process renders.
        alpha: [C,H,W,1] accumulated opacity.
        batch: the views, with photos [C,H,W,3] and valid masks.
        step: the training step.
        share: of all Gaussians those that `params` has; less than 1 where processes share them.
    """

    params: Params
    render: Tensor
    alpha: Tensor
    batch: Batch
    step: int
    share: float = 1.0


Term: TypeAlias = Callable[[LossInputs], Tensor]


@dataclass(frozen=True)
class WeightedTerm:
    """A term under its name, with its weight."""

    name: str
    weight: float
    term: Term

    def __call__(self, inputs: LossInputs) -> Tensor:
        """Returns the weighted term [], the sum over the steps of the call.

        Raises:
            ConfigError: the term gave something else than what it says that it gives.
        """
        value = self.term(inputs)
        of_views = getattr(self.term, "of_views", False)
        wanted = inputs.batch.weights.shape if of_views else torch.Size()
        found = value.shape if isinstance(value, Tensor) else type(value).__name__
        if found != wanted:
            raise ConfigError(
                f"the term '{self.name}' of the loss gave {found}",
                expected=f"a tensor of shape {wanted} is needed (of_views says which)",
            )
        if of_views:
            return self.weight * (inputs.batch.weights * value).sum()
        return self.weight * len(inputs.batch.steps) * inputs.share * value
