"""What listens to a run, to write or print something of its own."""

from dataclasses import dataclass
from pathlib import Path

from gs_densify.config.options import TrainConfig
from gs_densify.model.types import Splats
from gs_densify.results import MetricsRow, PerView, Results
from gs_densify.scene.scene import Scene


@dataclass(frozen=True)
class RunFacts:
    """What is known of a run before its first step."""

    config: TrainConfig
    folder: Path
    scene: Scene


class Output:
    """A listener that does nothing: what derives from it overrides what it wants to hear of."""

    def __init__(self, facts: RunFacts) -> None:
        self.facts = facts

    def loaded(self) -> None:
        """Hears that the scene was read."""

    def initialized(self, num_gaussians: int) -> None:
        """Hears that the SfM points became Gaussians."""

    def logged(self, row: MetricsRow) -> None:
        """Hears of a line of figures."""

    def trained(self, splats: Splats) -> None:
        """Hears of the model after the last step, in a thread beside its evaluation."""

    def scored(self, results: Results, per_view: PerView) -> None:
        """Hears of the results, in which the time and memory up to the end are still missing."""

    def finished(self, results: Results) -> None:
        """Hears of the results when every file is written."""
