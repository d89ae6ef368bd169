"""Being told to end, and intervals of time."""

import ctypes
import os
import signal
import threading

import pytest

from gs_densify.runs.interval import Interval
from gs_densify.runs.pause import BY_OTHERS, PauseWish


@pytest.mark.parametrize("number", BY_OTHERS, ids=lambda number: number.name)
def test_a_signal_is_a_wish_inside_the_block_alone(number: signal.Signals) -> None:
    before, wish = signal.getsignal(number), PauseWish()
    with wish.listening(*BY_OTHERS):
        assert not wish()
        os.kill(os.getpid(), number)
        assert wish()
        os.kill(os.getpid(), number)
    assert wish.signal == number
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_interrupts_and_an_ignored_one_stays_so() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        wish = PauseWish()
        with pytest.raises(KeyboardInterrupt), wish.listening(signal.SIGINT):
            os.kill(os.getpid(), signal.SIGINT)
            assert wish()
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        wish = PauseWish()
        with wish.listening(signal.SIGINT):
            os.kill(os.getpid(), signal.SIGINT)
        assert not wish()
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_handler_that_python_does_not_know_stays() -> None:
    libc = ctypes.CDLL(None)
    libc.signal.restype, libc.signal.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_void_p)
    called: list[int] = []
    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(called.append)
    address = ctypes.cast(handler, ctypes.c_void_p).value
    before, there = signal.getsignal(signal.SIGUSR1), libc.signal(signal.SIGUSR1, address)
    try:
        with pytest.MonkeyPatch.context() as patch:
            # Python reads the handlers of C programs when it starts, and none later.
            patch.setattr(signal, "getsignal", lambda number: None)
            wish = PauseWish()
            with wish.listening(signal.SIGUSR1):
                os.kill(os.getpid(), signal.SIGUSR1)
        assert called == [signal.SIGUSR1] and not wish()
    finally:
        libc.signal(signal.SIGUSR1, there)
        signal.signal(signal.SIGUSR1, before)


def test_another_thread_than_the_first_listens_to_nothing() -> None:
    def listen() -> None:
        with PauseWish().listening(signal.SIGTERM):
            heard.append(signal.getsignal(signal.SIGTERM))

    heard: list[object] = []
    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert heard == [signal.getsignal(signal.SIGTERM)]


def test_an_interval_is_over_when_its_time_has_passed_since_it_was_begun() -> None:
    now = [100.0]
    interval, never = (Interval(seconds, lambda: now[0]) for seconds in (10, 0))
    for time, is_over in ((109.9, False), (110, True), (111, True)):
        now[0] = time
        assert interval.is_over() == is_over
    interval.begin()
    assert not interval.is_over()
    now[0] = 1e9
    assert interval.is_over() and not never.is_over()
