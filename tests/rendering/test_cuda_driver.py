"""The driver starts in another thread, and what is missing does no harm."""

import ctypes
import os
import threading

import pytest

from gs_densify.rendering import cuda_driver


def start_and_wait() -> None:
    before = set(threading.enumerate())
    cuda_driver.begin_to_start()
    for thread in set(threading.enumerate()) - before:
        assert not thread.daemon, "a process must not end while the driver starts"
        thread.join()


def test_the_driver_is_asked_to_start_with_torchs_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple] = []

    class Driver:
        def cuInit(self, flags: int) -> int:
            seen.append((flags, os.environ["CUDA_MODULE_LOADING"], threading.get_ident()))
            return 100  # no device

    monkeypatch.setenv("CUDA_MODULE_LOADING", "EAGER")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver())
    start_and_wait()
    monkeypatch.delenv("CUDA_MODULE_LOADING")
    start_and_wait()
    assert [one[:2] for one in seen] == [(0, "EAGER"), (0, "LAZY")]
    assert threading.get_ident() not in [one[2] for one in seen]


@pytest.mark.parametrize("error", [OSError, AttributeError])
def test_a_machine_without_a_driver_goes_on(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise error(name)

    failed: list[object] = []
    monkeypatch.setenv("CUDA_MODULE_LOADING", "LAZY")
    monkeypatch.setattr(threading, "excepthook", failed.append)
    monkeypatch.setattr(ctypes, "CDLL", missing)
    start_and_wait()
    assert not failed
