"""The strategy of a run: built with its options, within the run's budget, on its schedule."""

import dataclasses
from typing import Any

from gs_densify.config.layers import full_length, trainer_defaults
from gs_densify.config.options import TrainConfig
from gs_densify.errors import ConfigError
from gs_densify.strategies.registry import build_strategy, load_strategy_class, recipe_of
from gs_densify.strategies.schedule import can_be_scaled, scaled_steps

BUDGET_OPTIONS = ("max_gaussians", "cap_max")  # ours, and that of gsplat's MCMCStrategy


def with_fitted_schedule(config: TrainConfig) -> TrainConfig:
    """Returns `config` with the `schedule_factor` that fits its strategy's schedule to its steps.

    A factor that was asked for stays. It is 1 for a strategy that cannot be scaled.
    """
    if config.schedule_factor is not None:
        return config
    cls = load_strategy_class(config.strategy)
    factor = config.steps / _full_length(config) if can_be_scaled(cls) else 1.0
    return dataclasses.replace(config, schedule_factor=factor)


def schedule_remark(config: TrainConfig) -> str | None:
    """Returns what becomes of the schedule, in one line, where steps were asked for and no factor
    was.

    None where the steps are those of the strategy, the scene, the preset or the protocol.
    """
    cls = load_strategy_class(config.strategy)
    brought = trainer_defaults(
        config.scene,
        cls,
        recipe=recipe_of(config.strategy, cls),
        protocol=config.protocol,
        preset=config.preset,
    )
    if config.schedule_factor is not None or config.steps == brought.steps:
        return None
    if can_be_scaled(cls):
        return (
            f"the schedule of strategy '{config.strategy}', made for {_full_length(config):,}"
            f" steps, is scaled to {config.steps:,} (--schedule-factor 1 leaves it as it is)"
        )
    return (
        f"strategy '{config.strategy}' has neither scaled(factor) nor refine_every: its schedule is"
        f" not scaled to {config.steps:,} steps; set its own step options where it has any"
    )


def _full_length(config: TrainConfig) -> int:
    recipe = recipe_of(config.strategy, load_strategy_class(config.strategy))
    return full_length(recipe, config.protocol)


def strategy_for(config: TrainConfig) -> Any:
    """Returns the configured strategy, told of `max_gaussians` and stretched to fit the steps.

    Raises:
        ConfigError: a `schedule_factor` was asked for, and the strategy cannot be scaled.
    """
    config = with_fitted_schedule(config)
    factor = config.schedule_factor
    strategy = _within_budget(
        build_strategy(config.strategy, config.strategy_options), config.max_gaussians
    )
    if factor is None or factor == 1.0:
        return strategy
    if hasattr(strategy, "scaled"):
        return strategy.scaled(factor)
    scaled = scaled_steps(strategy, factor)
    if scaled is None:
        raise ConfigError(
            f"{factor}: strategy '{config.strategy}' has neither scaled(factor) nor refine_every",
            action="use factor 1 and set its own step options",
            option="schedule-factor",
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
