"""Paths in a run's configuration, which mean the same from every folder."""

from operator import attrgetter
from pathlib import Path

from gs_densify.config.file import with_overrides
from gs_densify.config.options import RANDOM, SFM, TrainConfig
from gs_densify.errors import ConfigError
from gs_densify.home import expanded
from gs_densify.scene.presets import PRESETS, whole_name

_PATHS = ("data_root", "data.test_list", "evaluation.lpips_weights")


def with_absolute_paths(config: TrainConfig) -> TrainConfig:
    """Returns the configuration with whole paths of what the run reads."""
    whole: dict[str, object] = {"scene": whole_name(config.scene, config.data_root)}
    if config.init.source not in (SFM, RANDOM):
        whole["init.source"] = str(_absolute(Path(config.init.source)))
    for name in _PATHS:
        path = attrgetter(name)(config)
        if path is not None:
            whole[name] = _absolute(path)
    return with_overrides(config, whole)


def check_scene_is_there(run: Path, config: TrainConfig) -> None:
    """Refuses (ConfigError) a run whose scene has gone from the folder that it remembers."""
    if config.scene in PRESETS or Path(whole_name(config.scene, config.data_root)).is_dir():
        return
    raise ConfigError(
        f"{run} was trained on the scene in {config.scene}, where there is none now",
        action="name the folder where it is now with --scene",
    )


def _absolute(path: Path) -> Path:
    return expanded(path).absolute()
