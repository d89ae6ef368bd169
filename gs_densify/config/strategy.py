"""The strategy of a run: built with its options, within the run's budget, on its schedule."""

import dataclasses
from typing import Any

from gs_densify.config.options import TrainConfig
from gs_densify.errors import ConfigError
from gs_densify.strategies.registry import build_strategy
from gs_densify.strategies.schedule import scaled_steps

BUDGET_OPTIONS = ("max_gaussians", "cap_max")  # ours, and that of gsplat's MCMCStrategy


def strategy_for(config: TrainConfig) -> Any:
    """The configured strategy, told of `max_gaussians` and stretched by `schedule_factor`."""
    strategy = _within_budget(
        build_strategy(config.strategy, config.strategy_options), config.max_gaussians
    )
    if config.schedule_factor == 1.0:
        return strategy
    if hasattr(strategy, "scaled"):
        return strategy.scaled(config.schedule_factor)
    scaled = scaled_steps(strategy, config.schedule_factor)
    if scaled is None:
        raise ConfigError(
            f"--schedule-factor {config.schedule_factor}: strategy '{config.strategy}' has neither"
            " scaled(factor) nor refine_every; use factor 1 and set its own step options"
        )
    return scaled


def _within_budget(strategy: Any, budget: int | None) -> Any:
    limits = {field.name for field in dataclasses.fields(strategy) if field.init} & {
        *BUDGET_OPTIONS
    }
    if budget is None or not limits:
        return strategy
    lowered = {name: min(budget, getattr(strategy, name) or budget) for name in limits}
    return dataclasses.replace(strategy, **lowered)
