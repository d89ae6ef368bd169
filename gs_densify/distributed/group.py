"""The processes that train one model together, on torch.distributed.

What is asked of a group is asked of all its processes at the same time. A process alone is a group,
too: it answers at once.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from gs_densify.distributed import last_word
from gs_densify.distributed.environment import is_one_of_several
from gs_densify.errors import ConfigError, GsDensifyError, LostProcessError
from gs_densify.memory.shortage import is_shortage

_BACKENDS = "cpu:gloo,cuda:nccl"
"""What is said lies on the host, whose messages make no GPU wait."""

_PATIENCE = timedelta(days=7)
"""The first process scores and writes while the others wait; one that has gone is noticed at once,
since its connections close."""


_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")
_Thing = TypeVar("_Thing")
_Method: TypeAlias = Callable[Concatenate["Group", _Arguments], _Answer]


@contextmanager
def _reaching_others() -> Iterator[None]:
    """Says in words that another process cannot be reached (LostProcessError)."""
    try:
        yield
    except RuntimeError as error:  # what all backends raise
        if is_shortage(error):
            raise
        reason = " ".join(str(error).split())
        raise LostProcessError(f"another process has ended before its time ({reason})") from error


def _as_it_is(what: _Thing, *_: object) -> _Thing:
    return what


def _asking_others(
    alone: Callable[..., Any] = _as_it_is,
) -> Callable[[_Method[_Arguments, _Answer]], _Method[_Arguments, _Answer]]:
    """Has a method speak with others, and a process `alone` answer by itself."""

    def asking(method: _Method[_Arguments, _Answer]) -> _Method[_Arguments, _Answer]:
        @functools.wraps(method)
        def answer(self: Group, *args: _Arguments.args, **options: _Arguments.kwargs) -> _Answer:
            if self.size == 1:
                return alone(*args, **options)
            with _reaching_others():
                return method(self, *args, **options)

        return answer

    return asking


@dataclass(frozen=True)
class Group:
    """A process among `size` that it can speak with; the first one, of rank 0, leads."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Returns whether this process leads, and writes files."""
        return self.rank == 0

    def shares(self, count: int) -> list[int]:
        """Returns how many of `count` things each rank gets, as evenly as can be."""
        return [count // self.size + (rank < count % self.size) for rank in range(self.size)]

    def part(self, count: int) -> slice:
        """Returns which of `count` things in a row are this process's."""
        if self.size == 1:
            return slice(0, count)
        shares = self.shares(count)
        begin = sum(shares[: self.rank])
        return slice(begin, begin + shares[self.rank])

    @_asking_others(lambda *values: [*values])
    def total(self, *values: float) -> list[float]:
        """Returns the sums of numbers over all processes."""
        numbers = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(numbers)
        return numbers.tolist()

    @_asking_others()
    def summed(self, values: Tensor) -> Tensor:
        """Returns the sums of tensors of one shape over all processes; `values` become them."""
        dist.all_reduce(values)
        return values

    @_asking_others()
    def maxima(self, values: Tensor) -> Tensor:
        """Returns the largest values of tensors of one shape, likewise."""
        dist.all_reduce(values, dist.ReduceOp.MAX)
        return values

    def sums(self, tensors: Sequence[Tensor]) -> Iterator[Tensor]:
        """Makes tensors their sums over all processes, and yields each once it is.

        They lie on one device. All sums are on their way before the first is there, so that a GPU
        works on what it has while others are summed.
        """
        if self.size == 1:
            yield from tensors
            return
        with _reaching_others():
            waiting = [dist.all_reduce(one, async_op=True) for one in tensors]
        for tensor, one in zip(tensors, waiting, strict=True):
            with _reaching_others():
                one.wait()
            yield tensor

    @_asking_others(lambda rows, counts: rows[: counts[0]])
    def joined_rows(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """Returns the rows [C, ...] of all processes in order, on each of them.

        `counts` says how many each has; of those that this one gives only so many count.
        """
        most = max(counts)
        mine = rows[: counts[self.rank]].contiguous()
        if len(mine) < most:
            mine = torch.cat([mine, mine.new_zeros(most - len(mine), *mine.shape[1:])])
        found = mine.new_empty(self.size * most, *mine.shape[1:])
        dist.all_gather(list(found.split(most)), mine)
        if min(counts) == most:
            return found
        return torch.cat([part[:n] for part, n in zip(found.split(most), counts, strict=True)])

    @_asking_others(lambda rows, sent, received: rows)
    def exchanged(self, rows: Tensor, sent: Sequence[int], received: Sequence[int]) -> Tensor:
        """Returns the rows [M, ...] that all processes have for this one, in order of the ranks.

        `sent` says how many of its own are for each of them, `received` how many come.
        """
        found = rows.new_empty(sum(received), *rows.shape[1:])
        dist.all_to_all_single(found, rows, [*received], [*sent])
        return found

    @_asking_others(lambda values: [*values])
    def any_of(self, values: Sequence[bool]) -> list[bool]:
        """Returns, for each of some truths, whether it holds on any process."""
        found = torch.tensor(values, dtype=torch.uint8)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return found.bool().tolist()

    @_asking_others(lambda numbers: True)
    def have_same(self, numbers: Sequence[int]) -> bool:
        """Returns whether whole numbers are the same on all processes."""
        ends = torch.tensor([*numbers, *(~one for one in numbers)])
        dist.all_reduce(ends, dist.ReduceOp.MAX)
        highest, lowest = ends.chunk(2)
        return torch.equal(highest, ~lowest)

    @_asking_others()
    def from_first(self, values: Tensor) -> Tensor:
        """Makes a tensor what it is on the first process, in place."""
        dist.broadcast(values, 0)
        return values

    @_asking_others()
    def tree_from_first(self, tree: Any, device: torch.device) -> Any:
        """Returns nested dictionaries and lists with the tensors that the first process has.

        Those that lie on a GPU there come to `device`.
        """
        if self.is_first:
            tensors: list[Tensor] = []
            self.tell(_without_tensors(tree, tensors))
            for one in tensors:
                dist.broadcast(one.contiguous(), 0)
            return tree
        return _with_tensors(self.told(), device)

    @_asking_others()
    def largest(self, value: int | None) -> int | None:
        """Returns the largest number of all processes; None of one means that there is none."""
        if value is None:
            return value
        number = torch.tensor(value)
        dist.all_reduce(number, dist.ReduceOp.MAX)
        return int(number)

    @_asking_others(lambda what: None)
    def tell(self, what: object) -> None:
        """Says something to the processes that are `told`; the first one alone does, others may
        call this in vain.
        """
        if self.is_first:
            dist.broadcast_object_list([what], 0, device=torch.device("cpu"))

    @_reaching_others()
    def told(self) -> Any:
        """Returns, on another process than the first, what that says next."""
        heard = [None]
        dist.broadcast_object_list(heard, 0, device=torch.device("cpu"))
        return heard[0]

    def of_first(self, what: _Thing) -> _Thing:
        """Returns what the first process has found, where others may differ in the last bits."""
        if self.is_first:
            self.tell(what)
            return what
        return self.told()

    @contextmanager
    def in_one_voice(self) -> Iterator[None]:
        """Ends all processes where the body ends in an error on one, once all are through with it.

        Of those that end in the same error, the first alone raises it; all others end quietly. The
        body itself must not wait for others.
        """
        if self.size == 1:
            yield
            return
        error: GsDensifyError | None = None
        try:
            yield
        except GsDensifyError as caught:
            error = caught
        heard: list[str | None] = [None] * self.size
        with _reaching_others():
            dist.all_gather_object(heard, None if error is None else str(error))
        if error is not None and str(error) not in heard[: self.rank]:
            raise error
        said = next((one for one in heard if one is not None), None)
        if said is not None:
            last_word.leave(said)
            sys.exit(GsDensifyError.exit_code if error is None else error.exit_code)

    @_asking_others()
    def gathered(self, rows: Tensor, device: torch.device) -> Tensor:
        """Returns the rows [N, ...] of all processes in order on the first one, on `device`.

        Others get none of them. A process alone gets its own as they are. Of the rows of others
        those of one process at a time are on the GPU.
        """
        counts = [torch.tensor(0) for _ in range(self.size)]
        dist.all_gather(counts, torch.tensor(len(rows)))
        rows = rows.contiguous()
        if not self.is_first:
            _pass(dist.isend, rows, 0)
            return rows[:0].to(device)
        found = rows.new_empty(int(sum(counts)), *rows.shape[1:], device=device)
        parts = found.split([int(count) for count in counts])
        parts[0].copy_(rows)
        for rank in range(1, self.size):
            theirs = torch.empty_like(parts[rank], device=rows.device)
            _pass(dist.irecv, theirs, rank)
            parts[rank].copy_(theirs)
        return found


def _pass(way: Callable[..., Any], rows: Tensor, rank: int) -> None:
    """Sends rows to a rank, or gets them from it; as a batch, for which NCCL connects no more than
    it has.
    """
    for transfer in dist.batch_isend_irecv([dist.P2POp(way, rows, rank)]):
        transfer.wait()


ALONE = Group()


@contextmanager
def joined(device: str) -> Iterator[Group]:
    """Joins the processes beside which this one was started; alone it is a group by itself.

    `device` is what --device says. The end of the block waits for the others, except after an
    error: they may be waiting for this process, and go on or end once it has ended.

    Raises:
        ConfigError: torch has no torch.distributed.
    """
    if not is_one_of_several():
        yield ALONE
        return
    if not dist.is_available():
        raise ConfigError(
            "several processes were started, and this build of torch has no torch.distributed",
            action="train in one process, or install another build",
        )
    has_gpu = device != "cpu" and torch.cuda.is_available()
    dist.init_process_group(_BACKENDS if has_gpu else "gloo", timeout=_PATIENCE)
    try:
        yield Group(dist.get_rank(), dist.get_world_size())
    except BaseException:
        if dist.group.WORLD is not None:
            dist.group.WORLD.abort()
        raise
    finally:  # also where it has been aborted: this process may join others again
        dist.destroy_process_group()


@dataclass(frozen=True)
class _Absent:
    """Stands for a tensor that is yet to come."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    is_on_gpu: bool


def _without_tensors(tree: Any, found: list[Tensor]) -> Any:
    """Returns nested dictionaries and lists without their tensors, which are added to `found`."""
    if isinstance(tree, Tensor):
        found.append(tree)
        return _Absent(tuple(tree.shape), tree.dtype, tree.is_cuda)
    if isinstance(tree, dict):
        return {key: _without_tensors(one, found) for key, one in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(_without_tensors(one, found) for one in tree)
    return tree


def _with_tensors(tree: Any, device: torch.device) -> Any:
    """Returns what `_without_tensors` was given, with the tensors as they come."""
    if isinstance(tree, _Absent):
        place = device if tree.is_on_gpu else torch.device("cpu")
        values = torch.empty(tree.shape, dtype=tree.dtype, device=place)
        dist.broadcast(values, 0)
        return values
    if isinstance(tree, dict):
        return {key: _with_tensors(one, device) for key, one in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(_with_tensors(one, device) for one in tree)
    return tree
