"""Settings that a scene preset brings. Imports no torch."""

import dataclasses
from collections.abc import Mapping
from typing import Any

SCENE_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    # 32 photos of 96x64: a short schedule is enough, in which the means must move faster.
    "tiny": {"steps": 1000, "schedule_factor": 1 / 30, "lr.means": 1.6e-3},
}
"""Trainer options by dotted name."""

STRATEGY_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    # A Gaussian covers a far larger share of a small image, and its gradient grows with that.
    "tiny": {"grow_grad2d": 0.002},
}
"""Options of the strategies that have them."""


def strategy_defaults(scene: str, strategy_class: type) -> Any:
    """The strategy with its defaults, and with what the scene's preset changes of them."""
    names = {field.name for field in dataclasses.fields(strategy_class) if field.init}
    preset = STRATEGY_DEFAULTS.get(scene, {})
    return strategy_class(**{name: value for name, value in preset.items() if name in names})
