"""The folder of a run: where it is, what lies in it, and that it is never written over."""

import dataclasses
import shutil
import time
from pathlib import Path

from gs_densify.errors import ConfigError
from gs_densify.strategies.plugin import parse_reference
from gs_densify.training.config import TrainConfig

CONFIG = "config.yml"
RESULTS = "results.json"
PER_VIEW = "per_view.json"
EVALUATION = "evaluation.json"
METRICS = "metrics.jsonl"
POINT_CLOUD = "point_cloud.ply"
RENDERS = "renders"
PROFILE = "profile"
COMPAT = "compat"


def choose_folder(config: TrainConfig) -> Path:
    """The folder for a new run; ConfigError where something lies in it already."""
    if config.out is None:
        scene = Path(config.scene).resolve().name
        return _unused(Path("runs") / scene / Path(config.strategy).stem)
    folder = config.out
    if folder.is_dir() and not any(folder.iterdir()):
        return folder
    if folder.exists():
        what = "another run" if (folder / CONFIG).exists() else "other files"
        what = what if folder.is_dir() else "a file"
        raise ConfigError(
            f"--out {folder} holds {what} already; nothing was changed: choose another folder,"
            " or remove it first"
        )
    return folder


def with_kept_strategy_file(config: TrainConfig, folder: Path) -> TrainConfig:
    """`config` that names a copy in `folder` of the strategy's file; unchanged where it has none.

    The run can then be repeated after the original file was edited, and on another machine.
    """
    reference = parse_reference(config.strategy)
    if reference is None:
        return config
    shutil.copyfile(reference.path.expanduser(), folder / reference.path.name)
    return dataclasses.replace(
        config, strategy=str(reference._replace(path=Path(reference.path.name)))
    )


def _unused(parent: Path) -> Path:
    stamp = time.strftime("%Y-%m-%d_%H%M%S")
    folder, number = parent / stamp, 1
    while folder.exists():
        folder, number = parent / f"{stamp}_{number}", number + 1
    return folder


def create_folder(folder: Path) -> None:
    """Make the folder; ConfigError where that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {folder}: cannot be made ({error.strerror})") from None
