"""Write and read the JSON files of a run.

Files are written whole: to a temporary file in the same folder, which then takes the place of the
old one, so that a run that is killed leaves the old file or the new one, never half of either.
Floats are written with `repr`, which reads back to the same bits. NaN and the infinities have no
JSON spelling: a number that could not be measured is null, and writing one is an error.
"""

import json
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from gs_densify.errors import ResultError
from gs_densify.results.decode import decode
from gs_densify.results.encode import encode
from gs_densify.results.migrate import to_current
from gs_densify.results.schema import SCHEMA_VERSION, EvaluationResults, PerView, Results

_UNFINISHED = re.compile(r"\..+\.[0-9a-f]{8}")
"""Names of the temporary files of `atomic_write`."""

T = TypeVar("T", Results, PerView, EvaluationResults)


@contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """Opens a binary file that becomes `path` when the block ends without an exception.

    Raises:
        ResultError: when the folder cannot be written to, or a device, pipe or folder is there.
    """
    path = Path(path)
    if os.path.exists(path) and not os.path.isfile(path):
        raise ResultError(
            f"{path}: is no regular file, and is not replaced", action="name another file"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # mkstemp would give the owner alone access, and the umask that it leaves out can only be
        # asked for by setting it, which other threads would see.
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")  # see _UNFINISHED
        file = temporary.open("xb")
    except OSError as error:
        raise ResultError(f"{path}: cannot be written ({error.strerror})") from error
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise ResultError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        temporary.unlink(missing_ok=True)


def remove_unfinished(folders: Iterable[Path]) -> None:
    """Removes what processes that were killed in `atomic_write` have left right in folders, into
    which nobody writes now.
    """
    for folder in folders:
        for path in folder.iterdir() if folder.is_dir() else ():
            if _UNFINISHED.fullmatch(path.name) and path.is_file():
                path.unlink()


def save_json(path: str | Path, value: Any) -> None:
    """Writes a dataclass of the schema, or a plain JSON value, atomically and indented.

    Raises:
        ResultError: for NaN or an infinity anywhere inside, naming the place.
    """
    text = to_json(value, where=str(path), indent=2)
    with atomic_write(path) as file:
        file.write(f"{text}\n".encode())


def to_json(value: Any, *, where: str, indent: int | None = None) -> str:
    """Returns `value` as JSON text; paths become text.

    Raises:
        ResultError: for NaN or an infinity; the message starts with `where` and names the key.
    """
    plain = encode(value)
    try:
        return json.dumps(plain, indent=indent, allow_nan=False, default=os.fspath)
    except ValueError as error:
        place = next(_non_finite(plain), "")
        raise ResultError(
            f"{where}: {place or 'a value'} is not a finite number, which JSON cannot hold",
            expected="a number that could not be measured must be null",
        ) from error


def _non_finite(value: Any, place: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _non_finite(item, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _non_finite(item, f"{place}[{i}]")
    elif isinstance(value, float) and value - value != 0:
        yield f"{place} = {value}"


def load_json(path: str | Path) -> Any:
    """Returns the value that a JSON file holds.

    Raises:
        ResultError: when the file is missing, unreadable or no JSON.
    """
    path = Path(path)
    try:
        return json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except FileNotFoundError as error:
        raise ResultError(
            f"{path}: no such file",
            action="name the result file of a run",
        ) from error
    except OSError as error:
        raise ResultError(f"{path}: cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ResultError(f"{path}: is damaged: not JSON ({reason}).") from error


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def load_results(path: str | Path) -> Results:
    """Reads `results.json`, of this schema version or an older one.

    Raises:
        ResultError: for a file that is missing, damaged, or of a later schema version.
    """
    return _load(Results, path)


def load_per_view(path: str | Path) -> PerView:
    """Reads `per_view.json`, of this schema version or an older one.

    Raises:
        ResultError: for a file that is missing, damaged, or of a later schema version.
    """
    return _load(PerView, path)


def load_evaluation(path: str | Path) -> EvaluationResults:
    """Reads `evaluation.json`.

    Raises:
        ResultError: for a file that is missing, damaged, or of a later schema version.
    """
    return _load(EvaluationResults, path)


def _load(kind: Callable[..., T], path: str | Path) -> T:
    value = load_json(path)
    version = value.get("schema_version") if isinstance(value, dict) else None
    if type(version) is not int:
        raise ResultError(f"{path}: has no schema_version; it is no result file of gs_densify.")
    if not 1 <= version <= SCHEMA_VERSION:
        raise ResultError(
            f"{path}: has schema version {version}",
            expected=f"this gs_densify reads 1 to {SCHEMA_VERSION}",
            action="read it with the release that wrote it",
        )
    value = to_current(kind, value, str(path))
    return decode(kind, value, str(path))  # type: ignore[arg-type]
