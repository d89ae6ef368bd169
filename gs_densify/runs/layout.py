"""The folder of a run: where it is, what lies in it, and that it is never written over."""

import dataclasses
import os
import time
from contextlib import suppress
from itertools import count
from pathlib import Path

from gs_densify.config.options import TrainConfig
from gs_densify.errors import ConfigError
from gs_densify.home import expanded
from gs_densify.results.files import atomic_write
from gs_densify.results.names import (
    COMPAT,
    CONFIG,
    EVALUATION,
    METRICS,
    PER_VIEW,
    POINT_CLOUD,
    PROFILE,
    RENDERS,
    RESULTS,
    TENSORBOARD,
    WANDB,
)
from gs_densify.runs.checkpoint_files import CHECKPOINTS
from gs_densify.strategies.plugin import parse_reference

__all__ = [
    "COMPAT",
    "CONFIG",
    "EVALUATION",
    "METRICS",
    "PER_VIEW",
    "POINT_CLOUD",
    "PROFILE",
    "RENDERS",
    "RESULTS",
    "TENSORBOARD",
    "WANDB",
    "check_free",
    "create_folder",
    "default_folder",
    "time_stamp",
    "with_kept_strategy_file",
    "written_folders",
]


def check_free(out: Path | None) -> None:
    """Raises ConfigError where something lies in the folder that --out names."""
    if out is None or not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    what = "another run" if (out / CONFIG).exists() else "other files"
    what = what if out.is_dir() else "a file"
    raise ConfigError(
        f"{out} holds {what} already; nothing was changed",
        action="choose another folder, or remove it first",
        option="out",
    )


def written_folders(run: Path) -> list[Path]:
    """Returns the run's folder, and those in it into which its training writes."""
    inner = [run / CHECKPOINTS, run / RENDERS, run / COMPAT]
    return [run, *inner, *(path for path in (run / COMPAT).rglob("*") if path.is_dir())]


def create_folder(out: Path | None, default: Path) -> Path:
    """Makes `out`, or else `default`, with a number behind it where it is taken.

    Commands that begin at the same time have a folder each.

    Raises:
        ConfigError: something lies in `out`, or the folder cannot be made.
    """
    check_free(out)
    try:
        if out is None:
            return _make_new(default)
        out.mkdir(parents=True, exist_ok=True)
        return out
    except OSError as error:
        raise ConfigError(
            f"{out or default}: cannot be made ({error.strerror})", option="out"
        ) from None


def _make_new(folder: Path) -> Path:
    names = (f"{folder.name}_{number}" if number else folder.name for number in count())
    for candidate in map(folder.with_name, names):
        with suppress(FileExistsError):
            candidate.mkdir(parents=True)
            break
    return candidate


def time_stamp() -> str:
    """Returns the time as part of a folder's name."""
    return time.strftime("%Y-%m-%d_%H%M%S")


def default_folder(config: TrainConfig) -> Path:
    """Returns the folder of a run that begins now."""
    scene = Path(os.path.realpath(config.scene)).name
    return Path("runs") / scene / Path(config.strategy).stem / time_stamp()


def with_kept_strategy_file(config: TrainConfig, folder: Path) -> TrainConfig:
    """Copies the strategy's file into `folder` and returns a configuration that names the copy.

    A built-in strategy has no file, and `config` is returned as it is. The run can then be repeated
    after the original file was edited, and on another machine.
    """
    reference = parse_reference(config.strategy)
    if reference is None:
        return config
    content = expanded(reference.path).read_bytes()
    with atomic_write(folder / reference.path.name) as file:
        file.write(content)
    return dataclasses.replace(
        config, strategy=str(reference._replace(path=Path(reference.path.name)))
    )
