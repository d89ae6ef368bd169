"""Turn plain JSON values into the dataclasses of the schema, strictly and with the place named.

msgspec would be faster (0.01 ms for a results.json, where this takes 0.3 ms; `json` takes 0.1 ms),
but a thousand runs are read in little more than a second as it is, and it lets unknown keys of a
dataclass pass, cannot read the names of undecodable files, and knows no flat mappings.
"""

import dataclasses
import sys
import types
import typing
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, TypeVar, Union, get_args, get_origin

from gs_densify.errors import ResultError
from gs_densify.results.encode import is_flat

T = TypeVar("T")


def decode(kind: type[T], value: Any, where: str) -> T:
    """Builds a `kind` (a dataclass of the schema) from what `json.loads` returned.

    Integers pass for floats; nothing else is converted. An unknown key is refused, since it means
    that the file holds something that this version cannot keep.

    Raises:
        ResultError: naming `where` and the key, for a missing, unknown or mistyped value.
    """
    return typing.cast(T, _decode(kind, value, where))


def _decode(kind: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(typing.cast(type, kind), value, where)
    if kind is Any:
        return value
    decoder = _CONTAINERS.get(get_origin(kind))
    if decoder is not None:
        return decoder(get_args(kind), value, where)
    if issubclass(kind, dict):  # class Scores(dict[str, ...])
        return kind(_decode_dict(get_args(kind.__orig_bases__[0]), value, where))
    return _decode_scalar(kind, value, where)


class _Field(NamedTuple):
    kind: Any
    is_required: bool


class _Shape(NamedTuple):
    """The fields of a dataclass, and the one whose keys stand among theirs, where there is one."""

    fields: dict[str, _Field]
    flat: str | None
    flat_kind: Any


@cache
def _shape(kind: type) -> _Shape:
    hints = typing.get_type_hints(kind)  # takes most of the time of reading a file
    fields, flat = {}, None
    for item in dataclasses.fields(kind):
        if is_flat(item):
            flat = item.name
        else:
            is_required = item.default is item.default_factory is dataclasses.MISSING
            fields[item.name] = _Field(hints[item.name], is_required)
    return _Shape(fields, flat, None if flat is None else hints[flat])


def _decode_dataclass(kind: type, value: Any, where: str) -> Any:
    _check(value, dict, where)
    shape = _shape(kind)
    others = {key: item for key, item in value.items() if key not in shape.fields}
    decoded = {}
    for name, field in shape.fields.items():
        if name in value:
            decoded[name] = _decode(field.kind, value[name], f"{where}: {name}")
        elif field.is_required:
            raise ResultError(f"{where}: the key {name!r} is missing; the file is damaged.")
    if shape.flat is not None:
        decoded[shape.flat] = _decode(shape.flat_kind, others, where)
    elif others:
        raise ResultError(
            f"{where}: unknown key {next(iter(others))!r}",
            expected=f"expected {', '.join(shape.fields)}",
        )
    try:
        return kind(**decoded)
    except ValueError as error:
        raise ResultError(f"{where}: {error}.") from error


def _decode_scalar(kind: type, value: Any, where: str) -> Any:
    if kind is float and type(value) is int and abs(value) <= sys.float_info.max:
        return float(value)
    # `type() is`, since a bool is an int to isinstance.
    if type(value) is not kind:
        raise _mismatch(kind, value, where)
    return value


def _decode_list(args: tuple[Any, ...], value: Any, where: str) -> list[Any]:
    _check(value, list, where)
    return [_decode(args[0], item, f"{where}[{i}]") for i, item in enumerate(value)]


def _decode_tuple(args: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    _check(value, list, where)
    if len(value) != len(args):
        raise ResultError(
            f"{where}: {len(value)} values",
            expected=f"expected {len(args)}",
        )
    pairs = enumerate(zip(args, value, strict=True))
    return tuple(_decode(arg, item, f"{where}[{i}]") for i, (arg, item) in pairs)


def _decode_dict(args: tuple[Any, ...], value: Any, where: str) -> dict[str, Any]:
    _check(value, dict, where)
    return {key: _decode(args[1], item, f"{where}: {key}") for key, item in value.items()}


def _decode_optional(args: tuple[Any, ...], value: Any, where: str) -> Any:
    """Returns the only unions of the schema are `X | None`."""
    (kind,) = (arg for arg in args if arg is not types.NoneType)
    return None if value is None else _decode(kind, value, where)


_CONTAINERS: dict[Any, Callable[[tuple[Any, ...], Any, str], Any]] = {
    list: _decode_list,
    tuple: _decode_tuple,
    dict: _decode_dict,
    Union: _decode_optional,
    types.UnionType: _decode_optional,
}

_JSON_NAMES = {dict: "an object", list: "a list", str: "text", float: "a number"}
_JSON_NAMES |= {int: "an integer", bool: "true or false"}


def _check(value: Any, kind: type, where: str) -> None:
    if not isinstance(value, kind):
        raise _mismatch(kind, value, where)


def _mismatch(kind: type, value: Any, where: str) -> ResultError:
    found = repr(value)
    found = found if len(found) <= 40 else f"{found[:37]}..."
    return ResultError(f"{where}: {found} is not {_JSON_NAMES.get(kind, kind.__name__)}.")
