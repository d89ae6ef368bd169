"""The type of a model: named parameters with one row for each Gaussian."""

from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor

Splats: TypeAlias = Mapping[str, Tensor] | torch.nn.ParameterDict
"""`means, scales, quats, opacities, sh0, shN`, see `model.init`."""
