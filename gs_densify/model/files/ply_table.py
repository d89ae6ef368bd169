"""The vertices of any PLY file as a table; what their properties mean is for others to know."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from gs_densify.errors import ResultError

MAX_HEADER = 1 << 20  # bytes
BINARY, _ASCII = "binary_little_endian 1.0", "ascii 1.0"
_BYTE_ORDERS = {BINARY: "<", _ASCII: "<", "binary_big_endian 1.0": ">"}

_NUMPY_TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"},
    **{"float": "f4", "float32": "f4", "double": "f8", "float64": "f8"},
}


@dataclass(frozen=True)
class PlyHeader:
    """What a file says of its vertices."""

    format: str
    """One of `_BYTE_ORDERS`."""
    count: int
    dtype: np.dtype
    """A field for each property."""
    comments: tuple[str, ...]
    is_last: bool
    """No other element follows the vertices."""


def read_vertices(path: Path) -> np.ndarray:
    """Returns the vertices of a file, a structured array with a field for each property.

    Raises:
        ResultError: the file is missing, damaged, or cut off, or has no vertices first.
    """
    try:
        with path.open("rb") as file:
            header = read_header(str(path), file)
            return read_rows(str(path), file, header)
    except OSError as error:
        raise ResultError(
            f"{path}: cannot be read ({error.strerror})", action="name a PLY file"
        ) from error


def read_header(where: str, file: BinaryIO) -> PlyHeader:
    """Reads the header, and leaves the file behind it."""
    lines = _header_lines(where, file)
    form = _format(where, lines)
    comments = tuple(line[len("comment") :].strip() for line in lines if _first(line) == "comment")
    body = [line.split() for line in lines[1:] if _first(line) in ("element", "property")]
    elements = [i for i, words in enumerate(body) if words[0] == "element"]
    if body and body[0][1:2] == ["chunk"]:
        raise ResultError(
            f"{where}: is a compressed PLY, which is not read",
            action="export a plain one",
        )
    if elements[:1] != [0] or body[0][1:2] != ["vertex"]:
        raise ResultError(f"{where}: the header's first element is not vertex; no Gaussians.")
    end = elements[1] if len(elements) > 1 else len(body)
    count = body[0][2] if len(body[0]) == 3 else ""
    if not re.fullmatch(r"[0-9]{1,12}", count):
        raise ResultError(f"{where}: the header is damaged: {' '.join(body[0])!r} has no count.")
    dtype = _dtype(where, body[1:end], _BYTE_ORDERS[form])
    return PlyHeader(form, int(count), dtype, comments, end == len(body))


def _header_lines(where: str, file: BinaryIO) -> list[str]:
    lines: list[str] = []
    left = MAX_HEADER
    while not lines or lines[-1] != "end_header":
        line = file.readline(left)
        left -= len(line)
        if not line.endswith(b"\n"):
            raise ResultError(f"{where}: has no PLY header that ends; it is damaged or no PLY.")
        lines.append(line.decode("ascii", "backslashreplace").strip())
        if lines[0] != "ply":
            raise ResultError(
                f"{where}: does not start with 'ply'",
                expected="expected a PLY file",
            )
    return lines[:-1]


def _first(line: str) -> str:
    return line.partition(" ")[0]


def _format(where: str, lines: list[str]) -> str:
    formats = [" ".join(line.split()[1:]) for line in lines if _first(line) == "format"]
    if len(formats) != 1 or formats[0] not in _BYTE_ORDERS:
        found = formats[0] if formats else "none"
        raise ResultError(
            f"{where}: the format is {found!r}",
            expected=f"expected one of {', '.join(map(repr, _BYTE_ORDERS))}",
            action="convert the file",
        )
    return formats[0]


def _dtype(where: str, properties: list[list[str]], byte_order: str) -> np.dtype:
    fields: dict[str, str] = {}
    for words in properties:
        kind = _NUMPY_TYPES.get(words[1]) if len(words) == 3 else None
        if kind is None or words[2] in fields:
            raise ResultError(
                f"{where}: the vertex line {' '.join(words)!r} is damaged, repeated, or of an"
                " unknown type",
                expected="expected one 'property float NAME' for each property",
            )
        fields[words[2]] = f"{byte_order}{kind}"
    return np.dtype(list(fields.items()))


def read_rows(where: str, file: BinaryIO, header: PlyHeader) -> np.ndarray:
    """Reads the vertices from behind the header."""
    start = file.tell()
    found = file.seek(0, 2) - start
    if header.format == _ASCII:
        file.seek(start)
        _require_room(where, found, header)
        return _read_lines(where, file, header)
    expected = header.count * header.dtype.itemsize
    if found < expected or (header.is_last and found > expected):
        raise ResultError(
            f"{where}: {found} bytes follow the header",
            expected=f"{header.count} vertices of {header.dtype.itemsize} bytes need {expected}:"
            " the file is cut off or damaged",
        )
    file.seek(start)
    return np.fromfile(file, header.dtype, header.count)


def _require_room(where: str, found: int, header: PlyHeader) -> None:
    """Refuses more lines than fit into `found` bytes, for which memory would be asked for."""
    num = len(header.dtype.names or ())
    if found < 2 * num * header.count - 1:  # a number takes a digit, and what ends it
        raise ResultError(
            f"{where}: {found} bytes follow the header",
            expected=f"expected {header.count} lines of {num} numbers: the file is cut off or"
            " damaged",
        )


def _read_lines(where: str, file: BinaryIO, header: PlyHeader) -> np.ndarray:
    names = header.dtype.names or ()
    try:
        values = np.loadtxt(file, max_rows=header.count, ndmin=2) if header.count else np.empty(0)
        rows = np.empty(header.count, header.dtype)
        for name, column in zip(names, values.reshape(header.count, len(names)).T, strict=True):
            rows[name] = column
    except ValueError as error:
        raise ResultError(
            f"{where}: its vertices cannot be read ({' '.join(str(error).split())})",
            expected=f"expected {header.count} lines of {len(names)} numbers",
        ) from None
    return rows
