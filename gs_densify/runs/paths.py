"""Paths in a run's configuration, which mean the same from every folder."""

from pathlib import Path

from gs_densify.config.file import with_overrides
from gs_densify.config.options import RANDOM, SFM, TrainConfig


def with_absolute_paths(config: TrainConfig) -> TrainConfig:
    """Returns the configuration with whole paths of what the run starts from and holds out."""
    whole: dict[str, object] = {}
    if config.init.source not in (SFM, RANDOM):
        whole["init.source"] = str(_absolute(Path(config.init.source)))
    if config.data.test_list is not None:
        whole["data.test_list"] = _absolute(config.data.test_list)
    return with_overrides(config, whole)


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()
