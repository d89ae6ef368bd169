"""Strategies by name, without importing any of them (nor torch) until one is asked for."""

import dataclasses
import importlib
from typing import Any, NamedTuple

from gs_densify.errors import ConfigError


class Entry(NamedTuple):
    """Where a strategy's class is and what it does, in one line."""

    target: str
    summary: str


BUILTIN = {
    "default": Entry(
        "gs_densify.strategies.default:DefaultStrategy",
        "original 3DGS: clone, split, prune by mean gradient, with real opacity resets",
    ),
    "gsplat-default": Entry(
        "gsplat.strategy:DefaultStrategy",
        "gsplat 1.5.3's own DefaultStrategy, unchanged (it never resets opacities)",
    ),
    "gsplat-mcmc": Entry(
        "gsplat.strategy:MCMCStrategy",
        "gsplat 1.5.3's own MCMCStrategy, unchanged (needs a GPU)",
    ),
}


def load_strategy_class(name: str) -> type:
    """The class registered as `name`; ConfigError lists the known names."""
    if name not in BUILTIN:
        known = ", ".join(BUILTIN)
        raise ConfigError(f"unknown strategy '{name}'; known: {known}")
    module, _, attribute = BUILTIN[name].target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def build_strategy(name: str, options: dict[str, Any]) -> Any:
    """The strategy `name` with its options; unknown ones are refused with the known ones."""
    cls = load_strategy_class(name)
    known = [field.name for field in dataclasses.fields(cls) if field.init]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ConfigError(
            f"strategy '{name}' has no option '{unknown[0]}'; it has: {', '.join(known)}"
        )
    return cls(**options)
