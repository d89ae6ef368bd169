"""Checkpoints: all that a run needs to go on exactly where it was."""

import io
import pickle
import random
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import torch

from gs_densify.errors import ResultError, StrategyError
from gs_densify.memory.shortage import is_shortage
from gs_densify.model.checks import fault_of
from gs_densify.results import atomic_write
from gs_densify.runs.checkpoint_files import checkpoints
from gs_densify.runs.checkpoint_form import check_contents, shares_memory, tensors_in

FORMAT = 1

_DAMAGED = (
    *(zipfile.BadZipFile, RuntimeError, EOFError, ValueError, LookupError, OSError),
    *(TypeError, AttributeError, NotImplementedError),
)


class DamagedCheckpointError(ResultError):
    """A checkpoint that is not what was written, and can be so by itself."""


def latest_checkpoint(run: Path) -> Path:
    """Returns the checkpoint of the most steps; ResultError where there is none."""
    found = checkpoints(run)
    if not found:
        raise ResultError(
            f"{run}: no checkpoints/step_*.pt",
            action="is it the folder of a run that has saved one?",
        )
    return found[-1]


def load_newest(
    run: Path,
    device: torch.device | str | None,
    say: Callable[[str], None],
    *,
    is_mapped: bool = False,
) -> tuple[Path, dict[str, Any]]:
    """Returns the checkpoint of the most steps that is whole, and what `load_checkpoint` gives.

    Args:
        run: the folder of the run.
        device: see `load_checkpoint`, and for `is_mapped`, too.
        say: is told of each that is damaged.

    Raises:
        ResultError: there is none, all are damaged, or one is of another version.
    """
    path, older = latest_checkpoint(run), checkpoints(run)[:-1]
    while True:
        try:
            return path, load_checkpoint(path, device, is_mapped=is_mapped)
        except DamagedCheckpointError as error:
            if not older:
                raise
            path = older.pop()
            say(f"{error.found}; {path.name}, the checkpoint before, is taken")


def save_checkpoint(path: Path, contents: Mapping[str, Any]) -> None:
    """Writes `contents` atomically: the file appears whole, and on the disk, or not at all.

    Raises:
        ResultError: it cannot be written.
    """
    try:
        with atomic_write(path) as file:
            kept = _KeepingErrors(file)
            try:
                torch.save({"format": FORMAT, **contents}, cast(BinaryIO, kept))
            except RuntimeError:
                if kept.error is not None:  # as of a disk that is full: torch does not say
                    raise kept.error from None
                raise
    except RuntimeError as error:
        if is_shortage(error):
            raise
        raise ResultError(f"{path}: cannot be written ({_first_line(error)})") from None


class _KeepingErrors(io.RawIOBase):
    """A file to write to that keeps the error that it raised."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        """Writes bytes, and returns how many."""
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise


def load_checkpoint(
    path: Path, device: torch.device | str | None, *, is_mapped: bool = False
) -> dict[str, Any]:
    """Returns what `save_checkpoint` wrote, on `device`; None: each tensor where it was, if that is
    there. With `is_mapped` tensors on the CPU stay in the file until they are read.

    Raises:
        ResultError: it is damaged or of another version.
    """
    if not path.is_file():
        raise ResultError(f"{path}: there is no such checkpoint")
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()  # torch compares no check sums
        if damaged is not None:
            raise ValueError(f"{damaged} has another check sum")
        place: Any = _where_it_was if device is None else device
        contents = torch.load(path, map_location=place, weights_only=True, mmap=is_mapped)
    except torch.cuda.OutOfMemoryError:
        raise
    except pickle.UnpicklingError:
        raise DamagedCheckpointError(
            f"{path}: damaged, or it holds something besides tensors, numbers, texts, lists and"
            " dicts, which is not read"
        ) from None
    except _DAMAGED as error:
        raise DamagedCheckpointError(
            f"{path}: damaged, or no checkpoint ({_first_line(error)})"
        ) from None
    if not isinstance(contents, dict) or contents.get("format") != FORMAT:
        raise ResultError(f"{path}: not a checkpoint of format {FORMAT}")
    fault = fault_of(contents.get("splats"))
    if fault is None and type(contents.get("step")) is not int:
        fault = "it does not say of which step it is"
    if fault is not None:
        raise DamagedCheckpointError(
            f"{path}: {fault}", action="take another checkpoint of the run, or train again"
        )
    try:
        check_contents(contents, path)
    except ResultError as error:
        raise DamagedCheckpointError(
            error.found, expected=error.expected, action=error.action
        ) from None
    return contents


def _where_it_was(storage: Any, location: str) -> Any:
    """Is for torch.load: None lets it take the place that a tensor had."""
    return None if torch.cuda.is_available() or location == "cpu" else storage


def to_bytes(contents: Mapping[str, Any]) -> bytes:
    """Returns `contents` as a checkpoint holds them; StrategyError where it cannot."""
    for place, tensor in tensors_in(dict(contents), "state"):
        if shares_memory(tensor):
            raise _not_storable(f"{place} is a tensor whose elements share memory")
    buffer = io.BytesIO()
    with _storing():
        torch.save(dict(contents), buffer)
    return buffer.getvalue()


def from_bytes(contents: bytes) -> dict[str, Any]:
    """Returns what `to_bytes` took, read as a checkpoint is: without running code."""
    with _storing():
        return torch.load(io.BytesIO(contents), weights_only=True)


@contextmanager
def _storing() -> Iterator[None]:
    """Makes any error inside a StrategyError: what is stored says how, and may be of any class."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if is_shortage(error):
            raise
        raise _not_storable(_first_line(error)) from error


def _not_storable(reason: str) -> StrategyError:
    return StrategyError(
        "a checkpoint cannot hold what is in `state`",
        action=f"keep tensors, numbers, texts, and lists or dicts of them there ({reason})",
    )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def random_state(device: torch.device) -> dict[str, Any]:
    """Returns the states of the global random generators, and of the one of a CUDA device."""
    version, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "numpy": [version, torch.from_numpy(np.asarray(keys)), position, has_gauss, cached],
        "python": random.getstate(),
    }


def restore_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    """Undoes everything drawn since `random_state` was taken."""
    torch.set_rng_state(state["torch"].cpu())
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)
    version, keys, *rest = state["numpy"]
    np.random.set_state((version, keys.cpu().numpy(), *rest))
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
