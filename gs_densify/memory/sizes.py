"""Sizes of memory in words."""

import re

_SIZE = re.compile(r"(\d{1,18}(?:\.\d*)?)\s*([KMGT]?)(I?)B", re.IGNORECASE)


def bytes_of(text: str) -> int:
    """Returns the bytes that a text such as `8GB`, `7.5 GiB` or `600MB` says.

    Raises:
        ValueError: it says none, or no unit.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(text)
    number, prefix, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** " KMGT".index(prefix.upper() or " "))
