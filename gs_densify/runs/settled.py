"""What a scene makes of the options that a run leaves open: its length, schedule and memory."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from gs_densify.config.length import length_remark, with_length
from gs_densify.config.options import TrainConfig
from gs_densify.config.strategy import schedule_remark, strategy_for, with_fitted_schedule
from gs_densify.results import MemoryPlan
from gs_densify.runs.memory_limit import plan_of, plan_remark, within
from gs_densify.runs.run_state import RunState
from gs_densify.runs.start import Start
from gs_densify.scene.scene import Scene


@dataclass(frozen=True)
class Settled:
    """A configuration on its scene."""

    asked: TrainConfig
    """What was asked for; steps may be `auto`."""
    config: TrainConfig
    """What is trained: with steps as a number, a schedule that fits them, and within its plan."""
    strategy: Any
    plan: MemoryPlan | None
    """How the run keeps to its --memory-limit."""

    def remarks(self, num_views: int) -> list[str | None]:
        """Returns what is said of each option, in one line or None, with `num_views` photos to
        train on.
        """
        of_length = dataclasses.replace(self.asked, steps=self.config.length)
        return [
            length_remark(self.asked, self.config, num_views),
            schedule_remark(of_length),
            plan_remark(of_length, self.plan),
        ]


def settled(
    asked: TrainConfig, scene: Scene, start: Start, *, has_masks: bool, kept: RunState | None = None
) -> Settled:
    """Returns what is trained; what a run that goes on has found before, which is in `kept`, stays.

    Raises:
        ConfigError: an option does not go with the scene.
    """
    known = None if kept is None else kept.found.steps
    config = with_fitted_schedule(with_length(asked, len(scene.train_views), known))
    strategy = strategy_for(config)
    if kept is None:
        plan = plan_of(config, strategy, scene, start, has_masks=has_masks)
    else:
        plan = kept.memory_plan
    if plan is not None:
        config = within(config, plan)
        strategy = strategy_for(config)
    return Settled(asked, config, strategy, plan)
