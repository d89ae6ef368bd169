"""Some of many, evenly chosen."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

_Item = TypeVar("_Item")


def spread(items: Sequence[_Item], most: int) -> list[_Item]:
    """Returns at most so many items from the first to the last, in no regular step.

    Every second photo may be of another camera than the first: with whole steps one would see
    none of them.
    """
    return [items[i] for i in np.linspace(0, len(items) - 1, min(most, len(items))).astype(int)]
