"""Gaussians that a step leaves out at random, so that none stands in for what others lack.

DropGaussian (arXiv 2504.00773) leaves out a share that rises to the end, and raises the opacities
of the others by 1 / (1 - share). Here the share falls to none, so that the last steps fit the model
that is scored, and opacities stay as they are: on our scenes the correction cost sharpness.
"""

import torch

from gs_densify.model.types import Splats

_NONE = -20.0
"""Opacity logit of what is left out: far below 1/255, the least that a rasteriser draws."""


def share_left_out(most: float, step: int, steps: int) -> float:
    """Returns the share at `step`: `most` at the first of `steps`, falling linearly to none."""
    return most * (1 - step / steps)


def without_some(splats: Splats, share: float) -> Splats:
    """Returns the model [N] without a `share` of its Gaussians, drawn anew at each call.

    Those left out keep their rows, and get no gradient: they are too transparent to be drawn.
    """
    if share <= 0:
        return splats
    logits = splats["opacities"]
    is_left_out = torch.rand(logits.shape, device=logits.device) < share
    return {**splats, "opacities": logits.masked_fill(is_left_out, _NONE)}
