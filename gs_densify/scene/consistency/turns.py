"""Ways in which photos were turned after SfM saw them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Turn:
    """Where something that SfM saw is in the photo now."""

    name: str
    """Completes `the photos seem to be ...`."""
    apply: Callable[[np.ndarray], np.ndarray]
    """Takes positions [P, 2] in the picture, each from 0 to 1, to those in the photo."""
    swaps_sides: bool = False


AS_THEY_ARE = Turn("as they are", lambda at: at)

TURNS = (
    Turn("turned by 180 degrees", lambda at: 1 - at),
    Turn("mirrored", lambda at: np.stack([1 - at[:, 0], at[:, 1]], axis=1)),
    Turn("upside down and mirrored", lambda at: np.stack([at[:, 0], 1 - at[:, 1]], axis=1)),
    Turn(
        "turned by 90 degrees clockwise",
        lambda at: np.stack([1 - at[:, 1], at[:, 0]], axis=1),
        swaps_sides=True,
    ),
    Turn(
        "turned by 90 degrees counterclockwise",
        lambda at: np.stack([at[:, 1], 1 - at[:, 0]], axis=1),
        swaps_sides=True,
    ),
)
