"""The seed of every random draw."""

import random

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seeds python, numpy and torch on every device."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
