"""LPIPS with random backbones: all of the arithmetic, none of the published weights."""

import math
from functools import cache

import torch
from torch import Tensor

from gs_densify.evaluation.metrics.lpips import BACKBONES, Lpips, _load_heads


@cache
def random_weights(backbone: str) -> dict[str, Tensor]:
    """He-initialised, so that features neither vanish nor explode."""
    generator = torch.Generator().manual_seed(7)
    weights = {}
    for i, layer in enumerate(BACKBONES[backbone].layers):
        if isinstance(layer, tuple):
            c_in, c_out, kernel = layer[:3]
            std = math.sqrt(2 / (c_in * kernel * kernel))
            weight = torch.randn(c_out, c_in, kernel, kernel, generator=generator)
            weights[f"{i}.weight"] = std * weight
            weights[f"{i}.bias"] = 0.1 * torch.randn(c_out, generator=generator)
    return weights


@cache
def random_network(backbone: str) -> Lpips:
    spec = BACKBONES[backbone]
    return Lpips(spec, random_weights(backbone), _load_heads(spec))
