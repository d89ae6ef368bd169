"""How hard a run holds back, by how often it sees each of its photos.

A model that passes over few photos many times fits them, and spoils what lies between. In our
measurements (docs/strategies.md) a larger dropout and rates that fall late cost 0.1 dB at 118
passes (bonsai), were even at 186 (garden), and paid in all scores from 345 on (bear, gerrard_hall).
"""

from typing import Literal

FEW, MANY = 100, 300
"""Passes up to which nothing is held back further, and from which all is."""

DROPOUT = (0.1, 0.2)
"""Shares left out at first after few and many passes."""

OTHERS_FINAL = (1.0, 0.1)
"""Shares of the other rates at the last step after few and many passes."""


def strain(steps: int, views: int) -> float:
    """Returns 0 where `steps` views are few passes over all `views`, rising linearly to 1."""
    return min(1.0, max(0.0, (steps / views - FEW) / (MANY - FEW)))


def dropout(option: float | Literal["auto"], strain: float) -> float:
    """Returns the share that the first step leaves out: the option, or what `strain` asks for."""
    few, many = DROPOUT
    return few + (many - few) * strain if option == "auto" else option


def others_final(option: float | Literal["auto"], strain: float) -> float:
    """Returns the share of the other rates at the end: the option, or what `strain` asks for."""
    few, many = OTHERS_FINAL
    return few * (many / few) ** strain if option == "auto" else option
