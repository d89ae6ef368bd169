"""The seed of every random draw."""

import random

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seeds python, numpy and torch on every device."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def seed_of(seed: int, rank: int, step: int = 0) -> int:
    """Returns the seed of one of several processes from a step on, so that all draw differently."""
    return (seed + 1_000_003 * rank + 7_919 * step) % 2**32
