"""Who a process is among those that were started beside it, as torchrun says. Imports no torch."""

import os

_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def is_one_of_several() -> bool:
    """Returns whether this process was started beside others, as torchrun does."""
    return all(name in os.environ for name in _VARIABLES) and os.environ["WORLD_SIZE"] != "1"


def number_of_processes() -> int:
    """Returns how many were started together; 1 where this one is alone."""
    return int(os.environ["WORLD_SIZE"]) if is_one_of_several() else 1


def is_follower() -> bool:
    """Returns whether another of the processes leads."""
    return is_one_of_several() and os.environ["RANK"] != "0"


def gpu_of_process() -> int | None:
    """Returns the index of the GPU that is this process's among others; None where it is alone."""
    return int(os.environ.get("LOCAL_RANK", "0")) if is_one_of_several() else None


def processes_here() -> int:
    """Returns how many processes train together on this machine; 1 for one that is alone."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if is_one_of_several() else 1
