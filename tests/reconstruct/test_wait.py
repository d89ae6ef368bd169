"""Interruptions end pycolmap's work before Python goes on."""

import _thread
import signal
import time

import pycolmap
import pytest

from gs_densify.errors import SceneError
from gs_densify.reconstruct.wait import in_parts, wait_for


def test_an_interruption_waits_until_the_work_has_ended() -> None:
    ended = []

    def work(token: pycolmap.CancellationToken) -> None:
        _thread.interrupt_main()
        while not token.is_cancelled:
            time.sleep(0.01)
        time.sleep(0.3)
        ended.append(True)

    # What a shell starts in the background ignores SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            wait_for("features", work)
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended == [True]


def test_what_pycolmap_raises_is_one_line() -> None:
    def fail(_: pycolmap.CancellationToken) -> None:
        raise ValueError("[a.cc:1] Check failed:\n  x == 1")

    with pytest.raises(SceneError) as caught:
        wait_for("features", fail)
    said = "features: pycolmap failed ([a.cc:1] Check failed: x == 1); give the same command to try"
    assert str(caught.value) == f"{said} again"


def test_parts_are_all_there_in_order() -> None:
    parts: list[list[int]] = []
    in_parts("pairs", range(7), 3, lambda part, _: parts.append(list(part)), unit="pair")
    assert parts == [[0, 1, 2], [3, 4, 5], [6]]
