"""Calls that all processes make at the same time: the first one makes them, the others follow."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from gs_densify.distributed.group import Group

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")


class Led(Protocol):
    """Something that each process of a group has, with methods that are `ordered`."""

    group: Group


_Led = TypeVar("_Led", bound=Led)


def ordered(
    *, told: int = 0
) -> Callable[
    [Callable[Concatenate[_Led, _Arguments], _Answer]],
    Callable[Concatenate[_Led, _Arguments], _Answer],
]:
    """Has the others call a method, too, whenever the first process does.

    They get the first `told` of its arguments, and have defaults for those after.
    """

    def ordering(
        method: Callable[Concatenate[_Led, _Arguments], _Answer],
    ) -> Callable[Concatenate[_Led, _Arguments], _Answer]:
        @functools.wraps(method)
        def call(self: _Led, *args: _Arguments.args, **options: _Arguments.kwargs) -> _Answer:
            self.group.tell((method.__name__, args[:told]))
            return method(self, *args, **options)

        return call

    return ordering


def follow(led: Led) -> None:
    """Calls what the first process orders, on another process, until it is dismissed."""
    while (order := led.group.told()) is not None:
        name, values = order
        getattr(led, name)(*values)


def dismiss(led: Led) -> None:
    """Says to the processes that follow that there is nothing more to do."""
    led.group.tell(None)
