"""Every moment belongs to one part."""

import time

import pytest

from gs_densify.runs.stopwatch import Stopwatch


def test_the_parts_are_all_the_time_in_the_order_of_their_first_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = iter([10.0, 13.0, 21.0, 22.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(times))
    clock = Stopwatch()
    clock.lap("load")
    assert (clock.parts, clock.seconds) == ({"load": 3.0}, 3.0)
    clock.lap("first", until=17.5)
    clock.lap("train")
    clock.lap("load")
    assert clock.parts == {"load": 4.0, "first": 4.5, "train": 3.5}
    assert list(clock.parts) == ["load", "first", "train"]
    assert clock.seconds == sum(clock.parts.values()) == 22.0 - clock.started


def test_it_can_have_begun_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "perf_counter", lambda: 5.0)
    clock = Stopwatch(started=-1.0)
    clock.lap("start")
    assert clock.parts == {"start": 6.0}
