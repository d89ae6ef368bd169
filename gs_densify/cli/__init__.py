"""Commands: parse, call one function, map errors to exit codes."""

import time

STARTED = time.perf_counter()
"""When the command began, but for Python's own start."""
