"""Work on many photos, in parallel threads."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from gs_densify.messages import tracked

_Result = TypeVar("_Result")
_Item = TypeVar("_Item")


def in_threads(
    function: Callable[[_Item], _Result],
    items: Sequence[_Item],
    unit: str,
    *,
    workers: int | None,
    progress: bool,
) -> list[_Result]:
    """Maps in order; the first error cancels what has not begun.

    Args:
        function: what to do with an item.
        items: the items.
        unit: what an item is called where it is said how far it is.
        workers: threads; by default one per processor, at most 16.
        progress: say how far it is, see `messages.Progress`.
    """
    with ThreadPoolExecutor(workers or min(16, os.cpu_count() or 1)) as pool:
        results: Iterable[_Result] = pool.map(function, items)
        shown = tracked(results, f"{unit}s", len(items), unit=unit, shown=progress, leave=False)
        return list(shown)
