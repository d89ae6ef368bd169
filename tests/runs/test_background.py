"""Calls in other threads: all are done, none piles up, and what they raise comes out."""

import threading

import pytest

from gs_densify.runs.background import Background


def test_a_call_is_beside_what_follows_and_done_after_the_wait() -> None:
    go, done = threading.Event(), []
    with Background() as background:
        background.start(lambda: (go.wait(60), done.append(threading.get_ident())))
        assert not done
        go.set()
        background.wait()
        assert done and done[0] != threading.get_ident()


def test_a_fifth_call_waits_for_the_first() -> None:
    go, begun = threading.Event(), []
    with Background() as background:
        for _ in range(4):
            background.start(lambda: go.wait(60))
        fifth = threading.Thread(target=background.start, args=[begun.append, 5])
        fifth.start()
        fifth.join(0.05)
        assert fifth.is_alive() and not begun
        go.set()
        fifth.join(60)
        background.wait()
        assert begun == [5]


def test_errors_come_out_at_the_wait_or_at_the_end_of_the_block() -> None:
    with Background() as background:
        background.start(int, "no number")
        with pytest.raises(ValueError, match="no number"):
            background.wait()
    with pytest.raises(ValueError, match="no number"), Background() as background:
        background.start(int, "no number")


def test_an_error_of_the_block_counts_for_more_and_still_waits() -> None:
    go, done = threading.Event(), []
    with pytest.raises(KeyboardInterrupt), Background() as background:
        background.start(int, "no number")
        background.start(lambda: (go.wait(60), done.append(1)))
        threading.Timer(0.01, go.set).start()
        raise KeyboardInterrupt
    assert done == [1]
