"""Waits for pycolmap, which works for minutes without a word, so that it can be interrupted."""

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from gs_densify.errors import SceneError
from gs_densify.messages import Progress
from gs_densify.scene.colmap_library import pycolmap

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_SECONDS = 0.2
"""Between looks at whether pycolmap is done."""
_PATIENCE = 30.0
"""Seconds that an interruption waits for pycolmap to end."""

pycolmap.logging.minloglevel = pycolmap.logging.FATAL.value  # its own log is for developers


def wait_for(job: str, call: Callable[[pycolmap.CancellationToken], _Result]) -> _Result:
    """Calls pycolmap in a thread and returns its result. An interruption ends its work, too.

    Raises:
        SceneError: pycolmap raised an error.
    """
    token = pycolmap.CancellationToken()
    results: list[_Result] = []
    errors: list[Exception] = []

    is_done = threading.Event()

    def work() -> None:
        try:
            results.append(call(token))
        except Exception as error:
            errors.append(error)
        finally:
            is_done.set()

    # A daemon: not all calls heed the token, and an interruption does not wait for them. An event,
    # since Thread.join takes a thread for ended whose join was interrupted.
    thread = threading.Thread(target=work, daemon=True)
    try:
        thread.start()  # an interruption may come in here, too, when the work has begun
        while not is_done.wait(_SECONDS):
            pass
    except BaseException:
        token.cancel()
        is_done.wait(_PATIENCE)
        raise
    if errors:
        reason = " ".join(str(errors[0]).split())
        raise SceneError(
            f"{job}: pycolmap failed ({reason})", action="give the same command to try again"
        ) from errors[0]
    return results[0]


def in_parts(
    job: str,
    items: Sequence[_Item],
    size: int,
    call: Callable[[Sequence[_Item], pycolmap.CancellationToken], None],
    *,
    unit: str,
) -> None:
    """Calls pycolmap with `size` items at a time and shows how far it is.

    Its database is not asked meanwhile: a second connection, through Python's own SQLite, takes
    away the locks and the memory that the first relies on.
    """
    with Progress(job, len(items), unit=unit) as progress:
        for start in range(0, len(items), size):
            part = items[start : start + size]
            wait_for(job, lambda token, part=part: call(part, token))  # type: ignore[misc]
            progress.bar.update(len(part))
