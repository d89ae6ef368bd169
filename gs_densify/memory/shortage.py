"""Memory that runs out, of a GPU or of the host: how it is known, and what is said."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch

from gs_densify.errors import BackendError
from gs_densify.memory.sizes import bytes_of

_NAMES = {"cuda": "GPU memory", "cpu": "memory"}
_OF_TORCH = "DefaultCPUAllocator: "
_WANTED = re.compile(r"allocate (\d+(?:\.\d+)? (?:bytes|[KMGT]?iB))")
"""In what torch says of a GPU or of the host, and NumPy."""


def is_shortage(error: BaseException) -> bool:
    """Returns whether an error says that memory ran out: Python's, NumPy's or torch's."""
    return _short(error) is not None


@contextmanager
def shortage_in_words(when: Callable[[], str], remedies: Mapping[str, str]) -> Iterator[None]:
    """Says in words where memory runs out in the body.

    Args:
        when: what was under way.
        remedies: what helps, for "cuda" where a GPU's memory runs out and "cpu" where the host's
            does; without it the error stays as it is.

    Raises:
        BackendError: it has run out.
    """
    try:
        yield
    except Exception as error:
        short = _short(error)
        if short is None or short not in remedies:
            raise
        found = _WANTED.search(str(error))
        wanted = f", where {_gigabytes(found[1])} more were wanted" if found else ""
        raise BackendError(
            f"{_NAMES[short]} ran out{wanted}, {when()}", action=remedies[short]
        ) from None


def _short(error: BaseException) -> str | None:
    """Returns of which type of device the memory ran out; None where another thing happened."""
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return "cuda"
    if isinstance(error, MemoryError):
        return "cpu"
    return "cpu" if type(error) is RuntimeError and _OF_TORCH in str(error) else None


def _gigabytes(size: str) -> str:
    return f"{bytes_of(size.replace('bytes', 'B')) / 1e9:.3g} GB"
