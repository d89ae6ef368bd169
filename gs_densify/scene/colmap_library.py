"""pycolmap, imported in the one place that takes back its handler of SIGTERM."""

import signal
import threading

import pycolmap

__all__ = ["pycolmap"]

if threading.current_thread() is threading.main_thread():
    # The handler prints a stack trace where a job that is stopped by its scheduler should just end:
    # put back the one that Python knows of.
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
