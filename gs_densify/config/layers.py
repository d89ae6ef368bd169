"""Settings that a scene preset or a protocol brings. Imports no torch."""

import dataclasses
from collections.abc import Mapping
from operator import attrgetter
from typing import Any, cast, get_args

from gs_densify.config.file import with_overrides
from gs_densify.config.options import MOST_VIEWS, PresetName, ProtocolName, TrainConfig
from gs_densify.entry_points import refusing
from gs_densify.errors import ConfigError
from gs_densify.results.protocol import GSPLAT_NEAR_PLANE
from gs_densify.scene.presets import PRESETS
from gs_densify.strategies.schedule import can_be_scaled

SCENE_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    # 32 photos of 96x64: a short run is enough, in which the means must move faster.
    "tiny": {"steps": 1000, "lr.means": 1.6e-3},
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


EVALUATION_PROTOCOLS: Mapping[ProtocolName, Mapping[str, Any]] = {
    "default": {
        "evaluation.quantisation": "uint8-round",
        "evaluation.ssim_borders": "reflect",
        "evaluation.lpips": ("lpips_alex", "lpips_vgg"),
    },
    "inria": {
        "evaluation.quantisation": "uint8-round",
        "evaluation.ssim_borders": "zero",
        "evaluation.lpips": ("lpips_vgg_01",),
    },
    "gsplat": {
        "evaluation.quantisation": "float",
        "evaluation.ssim_borders": "valid",
        "evaluation.lpips": ("lpips_alex",),
    },
    "nerfbaselines": {
        "evaluation.quantisation": "uint8-truncate",
        "evaluation.ssim_borders": "valid",
        "evaluation.lpips": ("lpips_alex", "lpips_vgg"),
    },
    "mls-bench": {
        "evaluation.quantisation": "float",
        "evaluation.ssim_borders": "reflect",
        "evaluation.lpips": ("lpips_alex",),
    },
}
"""How each `--protocol` scores a model, whoever trained it; docs/evaluation.md has the sources."""

PROTOCOL_TEST_EVERY = 8
"""All of them hold out every 8th photo by sorted name."""

_IMAGE_SOURCES = {"inria": "found", "gsplat": "resized", "nerfbaselines": "found"}
"""Photos of scenes that are read at a factor; at factor 1 there is one kind."""

_TRAINING: Mapping[ProtocolName, Mapping[str, Any]] = {
    "mls-bench": {
        "downscale": 8,
        "data.image_source": "found",  # images_8 of the data set, never a resize of ours
        "steps": 30_000,
        "seed": 42,
        "evaluation.steps": (7_000, 30_000),
        # The task trains with AdamW; its decay is not published, this is torch's default.
        "lr.weight_decay": 0.01,
        # Its loop always asks gsplat for absolute gradients, so entries rely on them.
        "render.absgrad": True,
        "render.near_plane": GSPLAT_NEAR_PLANE,  # with which the task renders
        "data.normalize": "focus",  # gsplat's world, in which the task's thresholds and rates hold
    },
}
"""What a protocol fixes of the training, too."""

_FROZEN_LOOPS = ("mls-bench",)  # protocols in which a strategy cannot bring trainer settings


_LENGTHS: Mapping[PresetName, float] = {"balanced": 0.6, "fast": 0.3}
"""Share of the steps that a `--preset` trains; every schedule is scaled with them."""

_SHORT_SETTINGS: Mapping[str, Any] = {"loss.ssim": 0.3, "render.coarse_until": 0.25}
"""What the presets of a shorter length set besides; docs/performance.md has what each gives."""

_BUDGETS: Mapping[PresetName, int] = {
    "balanced": 1_000_000,
    "fast": 1_000_000,
    "compact": 470_000,  # the smallest of the published tables' budgets for bonsai
}


def evaluation_settings(
    protocol: ProtocolName, scene: str, downscale: int | None
) -> dict[str, Any]:
    """Returns options by dotted name that a protocol sets to score `scene`; None: the preset's
    factor.
    """
    settings = dict(EVALUATION_PROTOCOLS[protocol])
    source = _IMAGE_SOURCES.get(protocol)
    factor = PRESETS.get(scene, 1) if downscale is None else downscale
    if source is not None and factor > 1:
        settings["data.image_source"] = source
    return settings


def protocol_name(config: TrainConfig) -> str:
    """Returns the protocol, and the options of it that `config` has changed.

    Which LPIPS variants are computed does not change the others.
    """
    settings = evaluation_settings(config.protocol, config.scene, config.downscale)
    settings |= {"data.test_every": PROTOCOL_TEST_EVERY, "data.test_list": None}
    changed = [
        dotted
        for dotted, value in settings.items()
        if dotted != "evaluation.lpips" and attrgetter(dotted)(config) != value
    ]
    return f"{config.protocol} (changed: {', '.join(changed)})" if changed else config.protocol


def trainer_defaults(
    scene: str,
    strategy_class: type,
    *,
    recipe: Mapping[str, Any],
    protocol: str,
    preset: str | None = None,
    downscale: int | None = None,
    gpus: int = 1,
    has_budget: bool = False,
) -> TrainConfig:
    """Defaults, then the strategy's recipe, then the scene's, `--preset`, the protocol, `--gpus`.

    A protocol or preset that is not known is left to the parser of the flags, which refuses it.
    Which photos a protocol takes depends on `downscale`; None: the scene's. With `has_budget`, of
    --budget, a preset brings no limit of its own.

    Raises:
        ConfigError: a recipe that no configuration can hold; a preset where the protocol fixes the
            training, or for a strategy whose schedule cannot be scaled.
    """
    config = TrainConfig(scene=scene)
    if protocol not in _FROZEN_LOOPS:
        with refusing(f"the recipe of {strategy_class.__name__} cannot be used"):
            config = with_overrides(config, recipe)
            _ = config.length  # what a preset shortens
    config = with_overrides(config, SCENE_DEFAULTS.get(scene, {}))
    if preset in get_args(PresetName):
        chosen = cast(PresetName, preset)
        _check_preset(chosen, strategy_class, protocol)
        config = _with_preset(config, chosen)
        if has_budget:
            config = dataclasses.replace(config, max_gaussians=None)
    if protocol not in EVALUATION_PROTOCOLS:
        return _with_gpus(config, gpus)
    known = cast(ProtocolName, protocol)
    config = with_overrides(config, evaluation_settings(known, scene, downscale))
    config = with_overrides(config, _TRAINING.get(known, {}))
    if gpus > 1 and known in _FROZEN_LOOPS:
        raise ConfigError(
            f"is {gpus}, and --protocol {known} trains on one",
            action="leave one out",
            option="gpus",
        )
    return _with_gpus(config, gpus)


def fixes_training(protocol: str) -> bool:
    """Returns whether a protocol says how to train, too."""
    return protocol in _FROZEN_LOOPS


def _check_preset(preset: PresetName, strategy_class: type, protocol: str) -> None:
    if protocol in _FROZEN_LOOPS:
        raise ConfigError(
            f"{preset} and --protocol {protocol} both say how long to train",
            action="leave one out",
            option="preset",
        )
    if preset in _LENGTHS and not can_be_scaled(strategy_class):
        raise ConfigError(
            f"{preset} scales the schedule, but {strategy_class.__name__} has neither"
            " scaled(factor) nor refine_every",
            action="set --steps and its own step options",
            option="preset",
        )


def _with_preset(config: TrainConfig, preset: PresetName) -> TrainConfig:
    length = _LENGTHS.get(preset, 1.0)
    settings: dict[str, Any] = {
        "preset": preset,
        "steps": round(config.length * length),
    }
    if config.schedule_factor is not None:  # a strategy's recipe sets it; else it follows the steps
        settings["schedule_factor"] = config.schedule_factor * length
    if length < 1:
        settings |= _SHORT_SETTINGS
    if preset in _BUDGETS:
        settings["max_gaussians"] = _BUDGETS[preset]
    return with_overrides(config, settings)


def _with_gpus(config: TrainConfig, gpus: int) -> TrainConfig:
    """Returns as many views as before, of which each step has more: those of a step for each
    GPU.

    A number that no configuration takes is left to the parser of the flags, which refuses it.
    """
    if not 1 < gpus <= MOST_VIEWS // config.batch_size:
        return config
    factor = config.schedule_factor  # a strategy's recipe sets it; else it follows the steps
    return dataclasses.replace(
        config,
        gpus=gpus,
        batch_size=config.batch_size * gpus,
        steps=-(-config.length // gpus),
        schedule_factor=None if factor is None else factor / gpus,
    )


def full_length(recipe: Mapping[str, Any], protocol: str) -> int:
    """Returns steps that a strategy's schedule is made for: those of its recipe, where there are
    any.
    """
    length = TrainConfig(scene="").length
    return length if protocol in _FROZEN_LOOPS else recipe.get("steps", length)


def strategy_defaults(scene: str, strategy_class: type) -> Any:
    """Returns the strategy with its defaults, and with what the scene's preset changes of them."""
    names = {field.name for field in dataclasses.fields(strategy_class) if field.init}
    preset = STRATEGY_DEFAULTS.get(scene, {})
    with refusing(f"{strategy_class.__name__} refuses options of the scene '{scene}'"):
        return strategy_class(**{name: value for name, value in preset.items() if name in names})
