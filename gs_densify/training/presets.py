"""Settings that a scene preset or a protocol brings. Imports no torch."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from gs_densify.training.config import TrainConfig
from gs_densify.training.config_file import with_overrides

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


PROTOCOL_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "mls-bench": {
        "downscale": 8,
        "steps": 30_000,
        "seed": 42,
        "evaluation.steps": (7_000, 30_000),
        "evaluation.lpips": ("lpips_alex",),
        # The task trains with AdamW; its decay is not published, this is torch's default.
        "lr.weight_decay": 0.01,
        # Its loop always asks gsplat for absolute gradients, so entries rely on them.
        "render.absgrad": True,
    },
}
"""Trainer options by dotted name, for each `--protocol`."""

_FROZEN_LOOPS = ("mls-bench",)  # protocols in which a strategy cannot bring trainer settings


def trainer_defaults(scene: str, *, protocol: str, recipe: Mapping[str, Any]) -> TrainConfig:
    """Defaults, then the scene's preset, then the strategy's recipe, then the protocol."""
    layers = [SCENE_DEFAULTS.get(scene, {})]
    if protocol not in _FROZEN_LOOPS:
        layers.append(recipe)
    layers.append(PROTOCOL_DEFAULTS.get(protocol, {}))
    config = TrainConfig(scene=scene)
    for layer in layers:
        config = with_overrides(config, layer)
    return config


def strategy_defaults(scene: str, strategy_class: type) -> Any:
    """The strategy with its defaults, and with what the scene's preset changes of them."""
    names = {field.name for field in dataclasses.fields(strategy_class) if field.init}
    preset = STRATEGY_DEFAULTS.get(scene, {})
    return strategy_class(**{name: value for name, value in preset.items() if name in names})
