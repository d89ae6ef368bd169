"""CUDA's driver, started before torch is there to start it. Imports no torch."""

import ctypes
import os
from threading import Thread

LIBRARY = "libcuda.so.1"


def begin_to_start() -> None:
    """Starts the driver in a thread beside the import of torch; without a driver nothing happens.

    It asks every GPU of the host, which takes up to seconds, and does so without Python's lock. At
    the end of the process the thread is waited for: the driver must not end while it starts.
    """
    Thread(target=_start).start()


def _start() -> None:
    # As torch sets it; but the driver reads it once, when it starts.
    os.environ.setdefault("CUDA_MODULE_LOADING", "LAZY")
    try:
        ctypes.CDLL(LIBRARY).cuInit(0)  # what fails here fails again, and is said, in torch
    except (OSError, AttributeError):
        return
