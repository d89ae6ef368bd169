"""Starts a command that is asked to end when the process that started it is gone, however that
came: `tied.py PARENT COMMAND...`. Standard library only.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Becomes the command; Linux only, elsewhere the command outlives a parent that is killed."""
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(parent):
            sys.exit(f"{command[0]}: the process that wanted it is gone")
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
