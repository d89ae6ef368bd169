"""What listens to a run, to write or print something of its own."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from gs_densify.config.options import TrainConfig
from gs_densify.errors import ConfigError
from gs_densify.model.types import Splats
from gs_densify.results import EvaluationRecord, MetricsRow, PerView, Results
from gs_densify.scene.scene import Scene


@dataclass(frozen=True)
class RunFacts:
    """What is known of a run before its first step."""

    config: TrainConfig
    folder: Path
    scene: Scene
    resumed_at: int = 0
    """Steps after which it goes on; 0 where it begins."""


class Output:
    """A listener that does nothing: what derives from it overrides what it wants to hear of."""

    @classmethod
    def check(cls) -> None:
        """Raises ConfigError where it cannot work here; it is asked before the scene is loaded."""

    def __init__(self, facts: RunFacts) -> None:
        self.facts = facts

    def loaded(self) -> None:
        """Hears that the scene was read."""

    def initialized(self, num_gaussians: int) -> None:
        """Hears that the SfM points became Gaussians."""

    def logged(self, row: MetricsRow) -> None:
        """Hears of a line of figures."""

    def evaluated(self, record: EvaluationRecord) -> None:
        """Hears of the scores of the held-out views, null where none are."""

    def trained(self, splats: Splats) -> None:
        """Hears of the model after the last step, in a thread beside its evaluation."""

    def scored(self, results: Results, per_view: PerView) -> None:
        """Hears of the results, in which the time and memory up to the end are still missing."""

    def finished(self, results: Results) -> None:
        """Hears of the results when every file is written."""

    def close(self) -> None:
        """Hears that the process is about to end, be it by an error or by Ctrl-C."""


def require_package(name: str) -> None:
    """Raises ConfigError where a package is not installed that is an extra of gs-densify, too."""
    if importlib.util.find_spec(name) is None:
        raise ConfigError(
            f"has '{name}', which is not installed",
            action=f"run pip install 'gs-densify[{name}]'",
            option="log-to",
        )
