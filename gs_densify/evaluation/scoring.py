"""What is measured of a render, and how. Imports no torch."""

from dataclasses import dataclass

from gs_densify.evaluation.metrics import ALWAYS, LPIPS
from gs_densify.results import Quantisation, SsimBorders

NOT_ASKED = "not asked for"
"""Why a metric that every file names is null where nobody wanted it."""
NOT_HELD_OUT = "no view is held out (data.test_every 0)"
"""Why all metrics are null where all photos were trained on."""


@dataclass(frozen=True)
class Scoring:
    """What is measured of a render, and how."""

    quantisation: Quantisation = "uint8-round"
    ssim_borders: SsimBorders = "reflect"
    lpips: tuple[str, ...] = ()
    """Some of `metrics.LPIPS`; the others are null."""
    metrics: tuple[str, ...] = ()
    """Further metrics, of `metrics.known_names`."""

    def __post_init__(self) -> None:
        """Refuses an LPIPS variant that there is not."""
        unknown = [name for name in self.lpips if name not in LPIPS]
        if unknown:
            raise ValueError(f"unknown LPIPS {unknown}; known: {list(LPIPS)}")

    @property
    def names(self) -> tuple[str, ...]:
        """Returns all metrics that are to be computed."""
        return (*ALWAYS, *self.lpips, *self.metrics)
