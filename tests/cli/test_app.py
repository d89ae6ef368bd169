"""What all commands share: how a process ends."""

import gc
import subprocess
import sys

import pytest

from gs_densify.cli.app import importing


def test_the_collector_is_left_out_at_the_end_of_the_process() -> None:
    code = (
        "import atexit, gc, sys\n"
        "atexit.register(lambda: print(gc.get_freeze_count() > 1000))\n"  # the last to be called
        "from gs_densify.cli.app import run_command\n"
        "sys.argv = ['x', 'argument']\n"
        "run_command('x', lambda argv: print(*argv, gc.get_freeze_count()) or 7)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (7, "argument 0\nTrue\n"), done.stderr


def test_the_collector_rests_while_modules_are_imported() -> None:
    assert gc.isenabled()
    with importing():
        assert not gc.isenabled()
    with pytest.raises(KeyError), importing():
        raise KeyError
    assert gc.isenabled()
