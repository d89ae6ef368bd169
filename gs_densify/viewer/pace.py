"""How many pixels fit into a given time, learnt from the pictures drawn so far."""

import math

FEWEST = 64 * 64
"""Pixels below which a picture says nothing, however slow the machine."""


class Pace:
    """The size of the next picture, so that it takes about `seconds`."""

    def __init__(self, seconds: float, pixels: float) -> None:
        self.seconds = seconds
        self.pixels = max(pixels, FEWEST)

    def fit(self, width: int, height: int) -> tuple[int, int]:
        """Returns the largest size of the same shape, up to width x height, that fits."""
        scale = min(1.0, math.sqrt(self.pixels / (width * height)))
        return max(1, round(width * scale)), max(1, round(height * scale))

    def learn(self, pixels: int, seconds: float) -> None:
        """Learns how long so many pixels took; one outlier changes the size by 2 at most."""
        ratio = self.seconds / max(seconds, 1e-9)
        self.pixels = max(pixels * min(max(ratio, 0.25), 2.0), FEWEST)
