"""How hard a run holds back, by how often it sees each of its photos.

A model that passes over few photos many times fits them, and spoils what lies between. In our
measurements (docs/strategies.md) a larger dropout and rates that fall late cost 0.1 dB at 118
passes (bonsai), were even at 186 (garden), and paid in all scores from 345 on (bear, gerrard_hall).
"""

from typing import Literal

from gs_densify.config.options import TrainConfig

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


class Restraint:
    """How hard a run holds back: as its options say, or as its passes ask for."""

    def __init__(self, config: TrainConfig, num_views: int) -> None:
        """Takes the number of training views."""
        self._config = config
        strained = strain(config.length * config.batch_size, num_views)
        self.dropout = dropout(config.render.dropout, strained)
        """Share of the Gaussians that the first step leaves out."""
        self.others_final = others_final(config.lr.others_final, strained)
        """Share of the rates besides the means' that is left at the last step."""

    @property
    def found(self) -> dict[str, float]:
        """Returns what was found for options of `auto`, by dotted name."""
        options = {
            "lr.others_final": (self._config.lr.others_final, self.others_final),
            "render.dropout": (self._config.render.dropout, self.dropout),
        }
        return {name: found for name, (asked, found) in options.items() if asked == "auto"}
