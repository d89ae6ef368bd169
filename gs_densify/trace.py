"""Where an error went through files of the user's own. Standard library only."""

import traceback
from collections.abc import Iterator
from pathlib import Path

_OURS = Path(__file__).parent
_STANDARD = Path(traceback.__file__).parent


def own_lines(error: BaseException) -> str:
    """Returns the frames of files that are neither ours nor installed, as Python shows them.

    Of the causes of `error` the first counts that went through any. Empty where none did.
    """
    found = (lines for cause in _causes(error) if (lines := _lines(cause)))
    return next(found, "").rstrip()


def _causes(error: BaseException) -> Iterator[BaseException]:
    while error.__cause__ is not None:
        error = error.__cause__
        yield error


def _lines(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and _is_own(error.filename or ""):
        *place, _ = traceback.format_exception_only(error)
        return "".join(place)
    frames = traceback.extract_tb(error.__traceback__)
    return "".join(traceback.format_list([one for one in frames if _is_own(one.filename)]))


def _is_own(name: str) -> bool:
    path = Path(name)
    is_installed = {"site-packages", "dist-packages"} & set(path.parts)
    is_known = _OURS in path.parents or _STANDARD in path.parents
    return path.is_absolute() and not is_installed and not is_known
