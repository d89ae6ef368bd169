"""Settings that a scene preset or a protocol brings. Imports no torch."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from gs_densify.strategies.schedule import can_be_scaled
from gs_densify.training.config import TrainConfig
from gs_densify.training.config_file import with_overrides

SCENE_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    # 32 photos of 96x64: a short schedule is enough, in which the means must move faster.
    "tiny": {"steps": 1000, "schedule_factor": 1 / 30, "lr.means": 1.6e-3},
}
"""Trainer options by dotted name."""

_OUTDOOR = ("bicycle", "flowers", "garden", "stump", "treehill")

STRATEGY_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    # A Gaussian covers a far larger share of a small image, and its gradient grows with that.
    # Its photos hold 172,000 pixels in all: a budget for real scenes would be one Gaussian a pixel.
    # A few of them show most of it, and each view that is scored costs two renders.
    "tiny": {
        "grow_grad2d": 0.002,
        "split_absgrad2d": 0.004,
        "max_gaussians": 3000,
        "score_views": 4,
        "blur_area": 0.005,
    },
    **{scene: {"importance_metric": "outdoor"} for scene in _OUTDOOR},
}
"""Options of the strategies that have them."""


PROTOCOL_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "mls-bench": {
        "downscale": 8,
        "data.image_source": "found",
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


def trainer_defaults(
    scene: str, strategy_class: type, *, recipe: Mapping[str, Any], protocol: str
) -> TrainConfig:
    """Defaults, then the strategy's recipe, then the scene's preset, then the protocol."""
    preset = dict(SCENE_DEFAULTS.get(scene, {}))
    if not can_be_scaled(strategy_class):
        preset.pop("schedule_factor", None)
    config = TrainConfig(scene=scene)
    if protocol not in _FROZEN_LOOPS:
        config = with_overrides(config, recipe)
    config = with_overrides(config, preset)
    return with_overrides(config, PROTOCOL_DEFAULTS.get(protocol, {}))


def strategy_defaults(scene: str, strategy_class: type) -> Any:
    """The strategy with its defaults, and with what the scene's preset changes of them."""
    names = {field.name for field in dataclasses.fields(strategy_class) if field.init}
    preset = STRATEGY_DEFAULTS.get(scene, {})
    return strategy_class(**{name: value for name, value in preset.items() if name in names})
