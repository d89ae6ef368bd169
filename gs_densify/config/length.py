"""How long a run trains where `--steps auto` leaves it open: by how often it sees each photo.

A rule of thumb, from few scenes (docs/strategies.md): beyond, held-out PSNR and SSIM fall with few
photos to train on, while the training loss goes on falling.
"""

import dataclasses

from gs_densify.config.layers import fixes_training
from gs_densify.config.options import TrainConfig
from gs_densify.config.strategy import steps_of_layers
from gs_densify.errors import ConfigError

PASSES = 500
"""The most passes over the training photos."""

LEAST = 7_000
"""Photos that are rendered in all, however few there are: a shorter schedule has no room to grow
in."""


def with_length(config: TrainConfig, num_views: int, known: int | None = None) -> TrainConfig:
    """Returns the configuration with its steps as a number.

    Where they are `auto`, they are those of recipe, scene and preset, or the fewer that make
    `PASSES` over `num_views` photos to train on.

    Args:
        config: the configuration.
        num_views: photos to train on.
        known: what was found when the run began.
    """
    if config.steps != "auto":
        return config
    check_length(config)
    whole = steps_of_layers(config)
    seen = max(PASSES * num_views, LEAST)
    steps = known or min(whole, -(-seen // config.batch_size))
    return dataclasses.replace(config, steps=steps)


def check_length(config: TrainConfig) -> None:
    """Refuses `auto` where a protocol says how long to train (ConfigError)."""
    if config.steps == "auto" and fixes_training(config.protocol):
        raise ConfigError(
            f"auto and --protocol {config.protocol} both say how long to train",
            action="leave one out",
            option="steps",
        )


def length_remark(asked: TrainConfig, found: TrainConfig, num_views: int) -> str | None:
    """Returns what has become of `auto`, in one line; None where steps were given."""
    if asked.steps != "auto":
        return None
    passes = found.length * found.batch_size / num_views
    return f"--steps auto: {found.length:,} steps, {passes:,.0f} passes over {num_views} photos"
