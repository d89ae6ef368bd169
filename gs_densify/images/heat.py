"""Colours of a quantity, from black over violet and orange to white: errors, depths.

Their lightness grows with the value, so that they order for any colour vision, and in grey. Imports
no torch.
"""

import numpy as np

_STOPS = np.array(
    [
        (0, 0, 0),
        (35, 12, 95),
        (120, 28, 125),
        (205, 55, 85),
        (245, 125, 35),
        (255, 210, 80),
        (255, 255, 235),
    ],
    dtype=float,
)
_LEVELS = 256
_TABLE = np.stack(
    [
        np.interp(np.linspace(0, 1, _LEVELS), np.linspace(0, 1, len(_STOPS)), channel)
        for channel in _STOPS.T
    ],
    axis=-1,
)
_TABLE = _TABLE.round().astype(np.uint8)

STOPS = tuple(f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in _STOPS.astype(int))
"""The colours at equal distances from 0 to 1, as CSS has them."""


def heat(values: np.ndarray) -> np.ndarray:
    """Returns the colours, uint8 [..., 3], of values [...]; those beyond [0, 1] have its ends'."""
    return _TABLE[(np.clip(values, 0, 1) * (_LEVELS - 1)).round().astype(np.uint8)]
