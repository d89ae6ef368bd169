"""How long the lists of a view are made before their length is known.

A step whose host waits for the number of pairs of a tile and a Gaussian cannot begin its next one
while the GPU works. The number of a view that was rendered before is near what it was then, so that
lists of half as much again hold it; how the numbers of all views have moved since is allowed for
(they fall where opacities are reset, and rise again).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from gs_densify import messages

_MARGIN = 1.5
_LEAST = 4096
"""Pairs that there is always room for."""
_MOST = 2**31 - 2
_WEIGHT = 1 / 16
"""Of the latest view in the mean over views."""


@dataclass
class _Visit:
    """One rendering of a view: its number of pairs, once it is known."""

    count: Tensor
    """[1] int64, pinned; -1 until the GPU has written it."""
    gaussians: int
    room: int | None
    """Pairs that there was room for; None: for all."""
    mean: float | None = None
    """Pairs of a Gaussian, of the views before it."""


class Room:
    """What is known of the views of a training, by their indices and sizes."""

    def __init__(self) -> None:
        self._visits: dict[tuple[int, int, int], _Visit] = {}
        self._unread: deque[_Visit] = deque()
        self._mean: float | None = None

    def of(self, view: int, size: tuple[int, int], gaussians: int) -> tuple[int | None, Tensor]:
        """Returns for how many pairs to make room, and where their number is to be written.

        The room is None where nothing is known of `view` in its `size`, or where it was too small
        the last time: the number is to be waited for.
        """
        self._read()
        last = self._visits.get((view, *size))
        room = None if last is None else self._room(last, gaussians)
        if last is None or int(last.count) < 0:  # else the GPU may still write it
            count = torch.empty(1, dtype=torch.int64, pin_memory=torch.cuda.is_available())
        else:
            count = last.count
        count.fill_(-1)
        visit = _Visit(count, gaussians, room, self._mean)
        self._visits[(view, *size)] = visit
        self._unread.append(visit)
        return room, count

    def _room(self, last: _Visit, gaussians: int) -> int | None:
        pairs = int(last.count)
        if pairs < 0 or self._mean is None or (last.room is not None and pairs > last.room):
            return None
        moved = 1.0 if not last.mean else max(1.0, self._mean / last.mean)
        return min(_MOST, _LEAST + int(_MARGIN * moved * pairs * gaussians / last.gaussians))

    def _read(self) -> None:
        """Takes into the mean what the GPU has written since."""
        while self._unread and int(self._unread[0].count) >= 0:
            visit = self._unread.popleft()
            pairs = int(visit.count)
            if visit.room is not None and pairs > visit.room:
                messages.remark(
                    f"A training view had {pairs:,} pairs of a tile and a Gaussian where there was"
                    f" room for {visit.room:,}: the farthest were left out of one step"
                )
            latest = pairs / visit.gaussians
            before = latest if self._mean is None else self._mean
            self._mean = before + _WEIGHT * (latest - before)
