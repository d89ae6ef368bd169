"""`metrics.jsonl`: the time line of a run, one JSON object a line."""

import json
import os
from pathlib import Path
from types import TracebackType

from gs_densify.errors import ResultError
from gs_densify.results.decode import decode
from gs_densify.results.files import atomic_write, to_json
from gs_densify.results.schema import MetricsRow


class MetricsLog:
    """Appends rows; each is on disk as a whole line when `append` returns."""

    def __init__(self, path: str | Path, *, resume_step: int | None = None) -> None:
        """Opens `path` for appending, making its folder where needed.

        With `resume_step`, for a run that goes on from a checkpoint of that step, the rows of later
        steps are removed first, and so is a last line that was cut off.

        Raises:
            ResultError: when it cannot be written, or its last line was cut off.
        """
        self.path = Path(path)
        if resume_step is not None and self.path.exists():
            _rewind(self.path, resume_step)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab+", buffering=0)  # nothing is left to write at the end
        except OSError as error:
            raise ResultError(f"{path}: cannot be written ({error.strerror}).") from error
        try:
            self._check_end()
        except ResultError:
            self._file.close()
            raise

    def _check_end(self) -> None:
        """Refuses a file that ends amid a line: one glued to half of another would damage both."""
        if self._file.tell() == 0:
            return
        self._file.seek(-1, 2)
        if self._file.read(1) != b"\n":
            raise ResultError(
                f"{self.path}: the last line was cut off",
                action="delete that line to append to the file",
            )

    def append(self, row: MetricsRow) -> None:
        """Writes one line, whole or not at all.

        Raises:
            ResultError: for NaN or an infinity, and when the disk refuses the line.
        """
        left = memoryview(_line(row, self.path))
        end = os.fstat(self._file.fileno()).st_size
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            self._file.truncate(end)
            raise ResultError(f"{self.path}: cannot be written ({error.strerror})") from error

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __enter__(self) -> "MetricsLog":
        """Returns self."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the file."""
        self.close()


def read_metrics(path: str | Path) -> list[MetricsRow]:
    """Reads every line of `metrics.jsonl`.

    Raises:
        ResultError: for a missing file, or the first damaged line, with its number.
    """
    rows, rest = _read(path)
    if rest:
        raise ResultError(
            f"{path}: line {len(rows) + 1} was cut off",
            action="delete that line",
        )
    return rows


def _read(path: str | Path) -> tuple[list[MetricsRow], bytes]:
    """Returns the whole lines, and what follows the last of them."""
    try:
        *lines, rest = Path(path).read_bytes().split(b"\n")
    except FileNotFoundError as error:
        raise ResultError(
            f"{path}: no such file",
            action="name the metrics.jsonl of a run",
        ) from error
    except OSError as error:
        raise ResultError(f"{path}: cannot be read ({error.strerror}).") from error
    rows = [_row(line, f"{path}: line {number}") for number, line in enumerate(lines, start=1)]
    return rows, rest


def _rewind(path: Path, step: int) -> None:
    rows, _ = _read(path)
    with atomic_write(path) as file:
        for row in rows:
            if row.step <= step:
                file.write(_line(row, path))


def _line(row: MetricsRow, path: Path) -> bytes:
    return f"{to_json(row, where=str(path))}\n".encode()


def _row(line: bytes, where: str) -> MetricsRow:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ResultError(f"{where} is damaged: not JSON ({reason}).") from error
    return decode(MetricsRow, value, where)
