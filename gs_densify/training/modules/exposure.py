"""An affine change of colours for each training view, learnt with the scene.

Kerbl et al., "A Hierarchical 3D Gaussian Representation for Real-Time Rendering of Very Large
Datasets", SIGGRAPH 2024, section 6: c' = A c + b with A [3,3] and b [3] of the view, from the
identity on. Photos taken with varying exposure or white balance no longer need Gaussians before the
cameras that explain it.

Limits: held-out views have no exposure of their own and are rendered without, in the colours that
the views have on average: where exposures vary, their scores say less about the geometry. The
views' common part is taken out at each use, so that the scene cannot drift to other colours.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gs_densify.training.modules.base import TrainableModule


class Exposure(TrainableModule):
    """An affine colour transform [V,3,4] of V training views."""

    learning_rate = 1e-3

    def __init__(self, num_views: int) -> None:
        super().__init__(num_views)
        self.change = torch.nn.Parameter(torch.zeros(num_views, 3, 4))
        """The difference from the identity."""

    def image(self, render: Tensor, views: Sequence[int]) -> Tensor:
        """Returns A c + b of the colours c of the renders [C,H,W,3]."""
        change = self.change[list(views)] - self.change.mean(dim=0)
        linear, shift = change[..., :3], change[..., 3]
        return render + torch.einsum("chwi,coi->chwo", render, linear) + shift[:, None, None]
