"""Turn the dataclasses of the schema into plain JSON values; `decode` is the way back."""

import dataclasses
from collections.abc import Mapping
from typing import Any

FLAT: Mapping[str, Any] = {"flat": True}
"""Metadata of a field that is a mapping whose keys stand among those of its dataclass in JSON."""


def encode(value: Any) -> Any:
    """Returns a dataclass and all in it as dicts and lists; other values are left as they are."""
    if dataclasses.is_dataclass(value):
        encoded: dict[str, Any] = {}
        for item in dataclasses.fields(value):
            inner = encode(getattr(value, item.name))
            encoded |= inner if is_flat(item) else {item.name: inner}
        return encoded
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    return value


def is_flat(item: "dataclasses.Field[Any]") -> bool:
    """Returns whether a field's keys stand among those of its dataclass."""
    return bool(item.metadata.get("flat"))
