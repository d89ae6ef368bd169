"""Work that is done by other threads beside what follows it, such as writing files."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

_THREADS = 4


class Background:
    """Begins calls in threads, and raises what they raised where they are waited for.

    As a context manager it waits at the end of the block, also where the block raises.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS)
        self._begun: deque[Future[Any]] = deque()

    def __enter__(self) -> "Background":
        return self

    def start(self, function: Callable[..., object], *arguments: Any) -> None:
        """Begins `function(*arguments)`; where four calls are not done yet, waits for the first.

        So the arguments, which may be large, do not pile up.
        """
        if len(self._begun) == _THREADS:
            self._begun.popleft().result()
        self._begun.append(self._pool.submit(function, *arguments))

    def wait(self) -> None:
        """Returns when every call is done.

        Raises:
            Exception: the first that a call raised, in the order in which they were begun.
        """
        while self._begun:
            self._begun.popleft().result()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown()
        if error is None:
            self.wait()
