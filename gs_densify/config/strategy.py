"""The strategy of a run: built with its options, within the run's budget, on its schedule."""

import dataclasses
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from gs_densify.config.file import by_dotted_name, to_mapping
from gs_densify.config.layers import full_length, strategy_defaults, trainer_defaults
from gs_densify.config.options import TrainConfig
from gs_densify.entry_points import refusing
from gs_densify.errors import ConfigError
from gs_densify.strategies.registry import (
    BUILTIN,
    build_strategy,
    load_strategy_class,
    options_of,
    recipe_of,
)
from gs_densify.strategies.schedule import can_be_scaled, scaled_steps

if TYPE_CHECKING:  # it imports torch, without which help is shown
    from gs_densify.distributed.group import Group

BUDGET_OPTIONS = ("max_gaussians", "cap_max")  # ours, and that of gsplat's MCMCStrategy
TARGET_OPTIONS = ("budget", *BUDGET_OPTIONS)
"""Options of which a strategy needs one, so that `--budget` can tell it the number to end with."""


def with_fitted_schedule(config: TrainConfig) -> TrainConfig:
    """Returns `config` with the `schedule_factor` that fits its strategy's schedule to its steps.

    A factor that was asked for stays. It is 1 for a strategy that cannot be scaled. Where the
    steps are still open it is left open.
    """
    if config.schedule_factor is not None or config.steps == "auto":
        return config
    cls = load_strategy_class(config.strategy)
    factor = config.length / _full_length(config) if can_be_scaled(cls) else 1.0
    return dataclasses.replace(config, schedule_factor=factor)


def schedule_remark(config: TrainConfig) -> str | None:
    """Returns what becomes of the schedule, in one line, where steps were asked for and no factor
    was.

    None where the steps are those of the strategy, the scene, the preset or the protocol.
    """
    cls = load_strategy_class(config.strategy)
    if config.schedule_factor is not None or config.length == steps_of_layers(config):
        return None
    if can_be_scaled(cls):
        return (
            f"the schedule of strategy '{config.strategy}', made for {_full_length(config):,}"
            f" steps, is scaled to {config.length:,} (--schedule-factor 1 leaves it as it is)"
        )
    return (
        f"strategy '{config.strategy}' has neither scaled(factor) nor refine_every: its schedule is"
        f" not scaled to {config.length:,} steps; set its own step options where it has any"
    )


def steps_of_layers(config: TrainConfig) -> int:
    """Returns the steps that recipe, scene, preset, protocol and GPUs bring."""
    return _layers_of(config, load_strategy_class(config.strategy)).length


def _layers_of(config: TrainConfig, cls: type) -> TrainConfig:
    """Returns what recipe, scene, preset and protocol bring where nothing else is asked for."""
    return trainer_defaults(
        config.scene,
        cls,
        recipe=recipe_of(config.strategy, cls),
        protocol=config.protocol,
        preset=config.preset,
        downscale=config.downscale,
        gpus=config.gpus,
        has_budget=config.budget is not None,
    )


def remark_on_layers(config: TrainConfig) -> str | None:
    """Returns which settings of recipe, scene, preset and protocol a configuration lacks, in one
    line.

    That is where the trainer's own default stands in their place, as in a `TrainConfig` that was
    made by hand; None where there is no such option.
    """
    cls = load_strategy_class(config.strategy)
    layers = _layers_of(config, cls)
    own = by_dotted_name(to_mapping(_with_options_of(TrainConfig(scene=config.scene), cls())))
    brought = strategy_defaults(config.scene, cls)
    wanted = by_dotted_name(to_mapping(_with_options_of(layers, brought)))
    used = own | by_dotted_name(to_mapping(config))
    lost = [
        f"{name} {value} (here {used[name]})"
        for name, value in wanted.items()
        if value != own[name] == used[name]
    ]
    if not lost:
        return None
    return f"strategy '{config.strategy}' and the scene bring other settings: {', '.join(lost)}"


def _with_options_of(config: TrainConfig, strategy: Any) -> TrainConfig:
    return dataclasses.replace(config, strategy_options=options_of(strategy))


def _full_length(config: TrainConfig) -> int:
    recipe = recipe_of(config.strategy, load_strategy_class(config.strategy))
    return full_length(recipe, config.protocol)


def strategy_for(config: TrainConfig) -> Any:
    """Returns the configured strategy, told of `budget` and `max_gaussians` and stretched to fit
    the steps, where these are not open.

    Raises:
        ConfigError: a `schedule_factor` was asked for, and the strategy cannot be scaled; or a
            `budget`, and `check_budget` refuses it; or Gaussians are to be shared, and it needs
            all.
    """
    check_budget(config)
    config = with_fitted_schedule(config)
    factor = config.schedule_factor
    strategy, name = build_strategy(config.strategy, config.strategy_options), config.strategy
    with refusing(f"strategy '{name}' cannot be told its number of Gaussians"):
        strategy = _within_limit(_with_budget(strategy, config.budget), config.max_gaussians)
    _check_shared(config, strategy)
    if factor is None or factor == 1.0:
        return strategy
    with refusing(f"strategy '{name}': its schedule cannot be scaled by {factor:g}"):
        has_own_way = hasattr(strategy, "scaled")
        scaled = strategy.scaled(factor) if has_own_way else scaled_steps(strategy, factor)
    if scaled is None and not has_own_way:
        raise ConfigError(
            f"{factor}: strategy '{name}' has neither scaled(factor) nor refine_every",
            action="use factor 1 and set its own step options",
            option="schedule-factor",
        )
    if not isinstance(scaled, type(strategy)):
        raise ConfigError(
            f"strategy '{name}': scaled({factor:g}) gave a {type(scaled).__name__}",
            expected=f"a {type(strategy).__name__} is needed",
        )
    return scaled


def share_of(strategy: Any, group: "Group") -> Any:
    """Returns the strategy of one of several processes that share the Gaussians: with its share of
    all limits and of the budget.
    """
    if group.size == 1:
        return strategy
    values = {name: getattr(strategy, name) for name in _options_in(strategy, TARGET_OPTIONS)}
    shares = {n: group.shares(value)[group.rank] for n, value in values.items() if value}
    return dataclasses.replace(strategy, **shares) if shares else strategy


def _check_shared(config: TrainConfig, strategy: Any) -> None:
    """Refuses what does not go with Gaussians that several processes share (ConfigError)."""
    if config.parallel != "gaussians" or config.gpus == 1:
        return
    if not getattr(strategy, "shardable", False):
        able = [name for name in BUILTIN if getattr(load_strategy_class(name), "shardable", False)]
        raise ConfigError(
            f"strategy '{config.strategy}' needs all Gaussians in one process, and {config.gpus}"
            " share them",
            expected=f"{', '.join(able)} do not",
            action="train under one of them, or with --parallel views",
        )
    limits = {name: getattr(strategy, name) for name in _options_in(strategy, TARGET_OPTIONS)}
    limits["max_gaussians of the run"] = most_gaussians(config, strategy) or 0
    for name, value in limits.items():
        if 0 < value < config.gpus:
            raise ConfigError(
                f"{name} is {value}, and {config.gpus} processes share the Gaussians",
                expected="each needs one at least",
            )


def most_gaussians(config: TrainConfig, strategy: Any) -> int | None:
    """Returns the number above which the trainer drops Gaussians; None where there is no limit.

    A budget is such a number, unless the strategy exceeds it before it comes down to it.
    """
    is_limit = not getattr(strategy, "may_exceed_budget", False)
    limits = (config.max_gaussians, config.budget if is_limit else None)
    return min((limit for limit in limits if limit is not None), default=None)


def check_budget(config: TrainConfig, told: Collection[str] = ()) -> None:
    """Refuses a budget that the strategy cannot be told of, or that another option contradicts.

    It does nothing where there is no budget.

    Args:
        config: the configuration; of its strategy's options those count that are not the scene's
            defaults.
        told: options, among `TARGET_OPTIONS`, that count as well.

    Raises:
        ConfigError: one of both.
    """
    if config.budget is None:
        return
    if config.max_gaussians is not None and config.max_gaussians < config.budget:
        raise ConfigError(
            f"is {config.max_gaussians}, below --budget {config.budget}",
            action="leave one of them out",
            option="max-gaussians",
        )
    cls = load_strategy_class(config.strategy)
    targets = _options_in(cls, TARGET_OPTIONS)
    if not targets:
        raise ConfigError(
            f"strategy '{config.strategy}' cannot be told the number to end with",
            action="give its class a field budget: int = 0 and keep to it, or use --max-gaussians,"
            " which caps any strategy",
            option="budget",
        )
    defaults = strategy_defaults(config.scene, cls)
    for name in targets:
        default = getattr(defaults, name)
        value = config.strategy_options.get(name, default)
        is_cap = name in BUDGET_OPTIONS and getattr(cls, "may_exceed_budget", False)
        is_told = name in told or value != default
        fits = value >= config.budget if is_cap else not is_told or value == config.budget
        if not fits:
            flag = f"--strategy.{name.replace('_', '-')}"
            raise ConfigError(
                f"is {config.budget}, but {flag} is {value}",
                expected="it must be at least the budget" if is_cap else "",
                action=f"set {flag} higher" if is_cap else f"leave {flag} out",
                option="budget",
            )


def _options_in(strategy: Any, names: tuple[str, ...]) -> list[str]:
    """Returns those of `names` that are options of a strategy, or of its class."""
    own = {field.name for field in dataclasses.fields(strategy) if field.init}
    return [name for name in names if name in own]


def _with_budget(strategy: Any, budget: int | None) -> Any:
    if budget is None:
        return strategy
    is_cap_apart = getattr(strategy, "may_exceed_budget", False)
    names = ("budget",) if is_cap_apart else TARGET_OPTIONS
    return dataclasses.replace(strategy, **dict.fromkeys(_options_in(strategy, names), budget))


def _within_limit(strategy: Any, limit: int | None) -> Any:
    """Returns `strategy` with its limits lowered to `limit`; a budget of 0 is none and stays."""
    if limit is None:
        return strategy
    lowered = {
        name: min(limit, getattr(strategy, name) or limit)
        for name in _options_in(strategy, BUDGET_OPTIONS)
    }
    if getattr(strategy, "budget", 0) and _options_in(strategy, ("budget",)):
        lowered["budget"] = min(limit, strategy.budget)
    return dataclasses.replace(strategy, **lowered) if lowered else strategy
