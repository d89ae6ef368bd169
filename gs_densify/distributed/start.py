"""Starts the processes that train together with this one, on torch.multiprocessing.

This process is the first of them: signals, messages, files and exit codes are its own, as where it
trains alone. The others find it by the variables that torchrun sets, too.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from gs_densify.distributed.environment import is_one_of_several
from gs_densify.distributed.group import ALONE, Group, joined
from gs_densify.entry_points import described
from gs_densify.errors import BackendError, GsDensifyError, LostProcessError

_GRACE = 5.0
"""Seconds for this process to say itself what has happened, after another one has died."""

_OF_THE_FIRST = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
"""Signals that a terminal or a cluster sends to all processes, and of which the first one takes
care."""

_SAID = "gs_densify/said by "
"""Begins the keys under which processes leave the line that they would have ended with."""


@contextmanager
def together(
    size: int, device: str, follow: Callable[[Sequence[str]], None], argv: Sequence[str]
) -> Iterator[Group]:
    """Has `size` processes inside, of which this one is the first; others call `follow(argv)`.

    Where torchrun has started this process beside others, these are the group, and it ends after
    torchrun.

    Args:
        size: the number of processes.
        device: what --device says.
        follow: what the others do; a function of a module, of what `argv` says.
        argv: the arguments of the command.

    Raises:
        BackendError: there are not so many GPUs.
        LostProcessError: another process has ended before this one.
    """
    end_after_torchrun()
    if is_one_of_several():
        with joined(device) as group:
            yield group
        return
    if size == 1:
        yield ALONE
        return
    check_gpus(size, device)
    with _beginning(size, follow, argv) as others, others.blamed(), joined(device) as group:
        yield group


def check_gpus(size: int, device: str) -> None:
    """Refuses more processes on GPUs than there are GPUs; see `together`.

    Raises:
        BackendError: there are not so many.
    """
    if size == 1 or device == "cpu" or is_one_of_several():
        return
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count < size:
        raise BackendError(
            f"is {size}, and torch sees {count} here",
            action="ask for as many as there are; --device cpu trains in processes on the CPU",
            option="gpus",
        )


@contextmanager
def _beginning(
    size: int, follow: Callable[[Sequence[str]], None], argv: Sequence[str]
) -> Iterator[_Others]:
    """Starts the others, and has this process find them."""
    store = dist.TCPStore("localhost", 0, size, is_master=True, wait_for_workers=False)
    environment = {
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(store.port),
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # all of them are clients of `store`
    }
    context = mp.start_processes(
        _follow,
        (follow, list(argv), environment, os.getpid()),
        nprocs=size - 1,
        join=False,
        start_method="spawn",
    )
    others = _Others(size, context, store)
    before = dict(os.environ)
    os.environ.update(environment | {"RANK": "0", "LOCAL_RANK": "0"})
    try:
        yield others
    finally:
        others.end()
        os.environ.clear()
        os.environ.update(before)


def _follow(
    index: int,
    follow: Callable[[Sequence[str]], None],
    argv: Sequence[str],
    environment: dict[str, str],
    parent: int,
) -> None:
    """Is what one of the others does, whose rank is one more than `index`."""
    rank = str(index + 1)
    os.environ.update(environment | {"RANK": rank, "LOCAL_RANK": rank})
    for name in _OF_THE_FIRST:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    _end_after(parent, signal.SIGKILL)  # it may wait for a GPU for ever
    try:
        follow(argv)
    except Exception as error:
        if "--debug" in argv:  # the first process gets no more than a line
            traceback.print_exc()
        port = int(environment["MASTER_PORT"])
        said = str(error) if isinstance(error, GsDensifyError) else f"by {described(error)}"
        dist.TCPStore(environment["MASTER_ADDR"], port).set(_SAID + rank, said)
        sys.exit(getattr(error, "exit_code", 1))


def end_after_torchrun() -> None:
    """Has this process told to end, by SIGTERM, once torchrun is gone, where that has started it.

    torchrun leaves its processes behind where a signal ends it that it does not know, e.g. SIGUSR1.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        _end_after(os.getppid(), signal.SIGTERM)


def _end_after(parent: int, number: signal.Signals) -> None:
    """Sends this process a signal once that which started it is gone."""

    def wait() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), number)

    threading.Thread(target=wait, daemon=True).start()


class _Others:
    """The processes that this one has started."""

    def __init__(self, size: int, context: Any, store: dist.TCPStore) -> None:
        self._size, self._context, self._store = size, context, store
        self._is_ended, self._is_known = threading.Event(), threading.Event()
        self._death: LostProcessError | None = None
        threading.Thread(target=self._look, daemon=True).start()

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Says which process has ended where that is why the body fails."""
        try:
            yield
        except (LostProcessError, RuntimeError) as error:
            self._is_known.wait(_GRACE)
            if self._death is None:
                raise
            action = error.action if isinstance(error, LostProcessError) else ""
            raise LostProcessError(self._death.found, action=action) from error

    def end(self) -> None:
        """Waits for those that are about to end, and ends those that are not."""
        self._is_ended.set()
        for process in self._context.processes:
            process.join(_GRACE if self._death is None and sys.exc_info()[0] is None else 0)
            if process.is_alive():
                process.kill()
                process.join()

    def _look(self) -> None:
        """Ends this process, too, after another has died, where it does not do so itself.

        It may wait for what the other one would have sent to its GPU, and for ever.
        """
        while not self._is_ended.wait(0.2):
            for index, process in enumerate(self._context.processes):
                if process.exitcode not in (None, 0):
                    self._death = self._error_of(index, process.exitcode)
                    self._is_known.set()
                    if not self._is_ended.wait(_GRACE):
                        print(f"gs-train: {self._death}", file=sys.stderr, flush=True)
                        os._exit(self._death.exit_code)
                    return

    def _error_of(self, index: int, code: int) -> LostProcessError:
        said, rank = "", index + 1
        with suppress(RuntimeError):
            if self._store.check([_SAID + str(rank)]):
                said = self._store.get(_SAID + str(rank)).decode()
        how = said or (f"by signal {-code}" if code < 0 else f"with exit code {code}")
        return LostProcessError(
            f"process {rank + 1} of {self._size} has ended: {how}",
            action="if the run has saved a checkpoint, --resume goes on from it",
        )
