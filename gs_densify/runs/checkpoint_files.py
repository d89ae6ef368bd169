"""Where the checkpoints of a run are. Imports no torch."""

from pathlib import Path

CHECKPOINTS = "checkpoints"


def checkpoint_path(run: Path, step: int) -> Path:
    """Returns the file of the model after `step` steps."""
    return run / CHECKPOINTS / f"step_{step:06d}.pt"


def step_of(path: Path) -> int:
    """Returns the steps of the model in a file that `checkpoint_path` names."""
    return int(path.stem.removeprefix("step_"))


def checkpoints(run: Path) -> list[Path]:
    """Returns the checkpoints of a run, by their steps."""
    found = (run / CHECKPOINTS).glob("step_*.pt")
    return sorted((path for path in found if path.stem[5:].isdecimal()), key=step_of)
