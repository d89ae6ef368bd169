"""Checkpoints: all that a run needs to go on exactly where it was."""

import os
import pickle
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gs_densify.errors import ResultError
from gs_densify.splats.model import NAMES

FORMAT = 1


def checkpoint_path(run: Path, step: int) -> Path:
    """The file of the model after `step` steps."""
    return run / "checkpoints" / f"step_{step:06d}.pt"


def latest_checkpoint(run: Path) -> Path:
    """The checkpoint of the most steps; ResultError where there is none."""
    found = sorted((run / "checkpoints").glob("step_*.pt"))
    if not found:
        raise ResultError(
            f"{run}: no checkpoints/step_*.pt; is it the folder of a run that has saved one?"
        )
    return found[-1]


def save_checkpoint(path: Path, contents: Mapping[str, Any]) -> None:
    """Write `contents` atomically; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    torch.save({"format": FORMAT, **contents}, temporary)
    os.replace(temporary, path)


def load_checkpoint(path: Path, device: torch.device | str) -> dict[str, Any]:
    """What `save_checkpoint` wrote, on `device`; ResultError when damaged or of another version."""
    if not path.is_file():
        raise ResultError(f"{path}: there is no such checkpoint")
    try:
        contents = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ResultError(f"{path}: damaged, or no checkpoint ({reason})") from None
    if not isinstance(contents, dict) or contents.get("format") != FORMAT:
        raise ResultError(f"{path}: not a checkpoint of format {FORMAT}")
    missing = [name for name in NAMES if name not in contents.get("splats", {})]
    if missing:
        raise ResultError(f"{path}: parameters {missing} are missing")
    return contents


def random_state() -> dict[str, Any]:
    """The states of every global random generator."""
    version, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [version, torch.from_numpy(np.asarray(keys)), position, has_gauss, cached],
        "python": random.getstate(),
    }


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Undo everything drawn since `random_state` was taken."""
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([one.cpu() for one in state["cuda"]])
    version, keys, *rest = state["numpy"]
    np.random.set_state((version, keys.cpu().numpy(), *rest))
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))


def seed_everything(seed: int) -> None:
    """Seed python, numpy and torch on every device."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
