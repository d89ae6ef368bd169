"""Strategies by name, without importing any of them (nor torch) until one is asked for.

A name is that of a built-in strategy, of one that an installed package offers, or the path of a
Python file (see `plugin`).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from gs_densify.entry_points import refusing
from gs_densify.errors import BackendError, ConfigError
from gs_densify.near_names import did_you_mean
from gs_densify.registry import Entry, Registry
from gs_densify.strategies import plugin


@dataclasses.dataclass(frozen=True)
class StrategyEntry(Entry):
    """Where a strategy's class is, what it does in one line, and what its class cannot say."""

    recipe: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Trainer settings by dotted name, for a class without a `recipe` of its own."""
    needs_cuda: bool = False


BUILTIN = {
    "adaptive": StrategyEntry(
        "gs_densify.strategies.methods.adaptive:AdaptiveStrategy",
        "ours: percentiles, attributed error, agreeing views, budget",
    ),
    "default": StrategyEntry(
        "gs_densify.strategies.methods.default:DefaultStrategy",
        "original 3DGS: clone, split, prune, with real opacity resets",
    ),
    "mcmc": StrategyEntry(
        "gs_densify.strategies.methods.mcmc:MCMCStrategy",
        "3DGS-MCMC: relocate the dead, grow to a budget, add noise",
    ),
    "absgs": StrategyEntry(
        "gs_densify.strategies.methods.absgs:AbsGSStrategy",
        "AbsGS: split by absolute, clone by signed gradients",
    ),
    "new-split": StrategyEntry(
        "gs_densify.strategies.methods.new_split:NewSplitStrategy",
        "3DGS with a split that conserves mass, mean, covariance",
    ),
    "taming": StrategyEntry(
        "gs_densify.strategies.methods.taming:TamingStrategy",
        "Taming-3DGS: clone and split to a budget, by a score of many",
    ),
    "edc": StrategyEntry(
        "gs_densify.strategies.methods.edc:EDCStrategy",
        "Improved-GS: long-axis splits on edges to a budget",
    ),
    "mini-splatting": StrategyEntry(
        "gs_densify.strategies.methods.mini_splatting:MiniSplattingStrategy",
        "Mini-Splatting: blur split, depth points, then a sample",
    ),
    "gsplat-default": StrategyEntry(
        "gsplat.strategy:DefaultStrategy",
        "gsplat 1.5.3's own, unchanged (it never resets opacities)",
    ),
    "gsplat-mcmc": StrategyEntry(
        "gsplat.strategy:MCMCStrategy",
        "gsplat 1.5.3's own, unchanged (needs a GPU)",
        recipe={
            "init.opacity": 0.5,
            "init.scale": 0.1,
            "loss.opacity_reg": 0.01,
            "loss.scale_reg": 0.01,
        },
        needs_cuda=True,
    ),
}

_STRATEGIES: Registry[StrategyEntry] = Registry(plugin.KIND, plugin.GROUP, BUILTIN)


def load_strategy_class(name: str) -> type:
    """Returns the class called `name`; ConfigError lists the known names."""
    reference = plugin.parse_reference(name)
    if reference is not None:
        return plugin.load_from_file(reference)
    if name in BUILTIN:
        cls: type = _STRATEGIES.load(name)
        return cls
    offered = plugin.load_from_package(name)
    if offered is None:
        near = did_you_mean(name, known_names())
        raise ConfigError(
            f"unknown strategy '{name}'",
            expected=near or f"known: {', '.join(known_names())}",
            action="" if near else "or give the path of a Python file",
        )
    return offered


def known_names() -> list[str]:
    """Returns built-in names, then those that installed packages offer."""
    return _STRATEGIES.names()


def recipe_of(name: str, cls: type) -> Mapping[str, Any]:
    """Returns the trainer settings that the strategy brings, by dotted option name."""
    with refusing(f"strategy '{name}': recipe cannot be read"):
        own = getattr(cls, "recipe", None)
    if own is None:
        return BUILTIN[name].recipe if name in BUILTIN else {}
    if not isinstance(own, Mapping):
        raise ConfigError(
            f"strategy '{name}': recipe is {type(own).__name__}",
            expected="a mapping of dotted option names to values is needed,"
            ' e.g. {"init.opacity": 0.5}',
        )
    return own


def build_strategy(name: str, options: dict[str, Any]) -> Any:
    """Returns the strategy `name` with its options; unknown ones are refused with the known
    ones.
    """
    cls = load_strategy_class(name)
    known = [field.name for field in dataclasses.fields(cls) if field.init]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ConfigError(
            f"strategy '{name}' has no option '{unknown[0]}'",
            expected=f"it has: {', '.join(known)}",
        )
    with refusing(f"strategy '{name}' refuses its options"):
        return cls(**options)


def options_of(strategy: Any) -> dict[str, Any]:
    """Returns what `build_strategy` needs to build an equal strategy.

    Raises:
        ConfigError: one of them has become what no configuration can hold, or is not a number.
    """
    options = {}
    for field in dataclasses.fields(strategy):
        if not field.init:
            continue
        where = f"option '{field.name}' of {type(strategy).__name__}"
        with refusing(f"{where} cannot be read"):
            value = options[field.name] = getattr(strategy, field.name)
        if not plugin.is_plain(value):
            raise ConfigError(
                f"{where} is a {type(value).__name__}",
                expected="a number, text, flag, path, or tuple of them is needed",
            )
        if any(item != item for item in (value if isinstance(value, tuple | list) else (value,))):
            raise ConfigError(f"{where} is {value}", expected="a number is needed")
    return options


def require_device(name: str, device_type: str) -> None:
    """Raises BackendError where the strategy calls CUDA code and the run is on another device."""
    if name in BUILTIN and BUILTIN[name].needs_cuda and device_type != "cuda":
        raise BackendError(
            f"strategy '{name}' calls gsplat's CUDA code, and this run is on the {device_type}",
            action="use a machine with an NVIDIA GPU, or another strategy (gs-strategies list)",
        )
