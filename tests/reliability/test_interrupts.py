"""Ctrl-C while a command is imported: one line and code 130, as at any other time."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from forks import MODULES
from long_form import cases

INTERRUPTING = """
import os, signal
try:
    os.kill(os.getpid(), signal.SIGINT)
    int()
except BaseException:
    raise ImportError("taken for something else") from None
"""


AS_A_SCRIPT = """
import sys
import gs_densify.cli
print(end="begun", flush=True)
from importlib import import_module
module, *sys.argv = sys.argv[1:]
import_module(module).main()
"""


def begun(name: str, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Begins a command, and returns when Python has begun it, too."""
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, "-c", AS_A_SCRIPT, MODULES[name], name, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None and process.stdout.read(5) == "begun"
    return process


# An import that takes the exception for something else, as NumPy's does, is no way to go on.
@pytest.mark.parametrize(
    ("name", "module"), [("gs-train", "tyro"), ("gs-eval", "tyro"), ("gs-bench", "yaml")]
)
def test_an_interrupt_of_an_import_is_one_line(name: str, module: str, tmp_path: Path) -> None:
    (tmp_path / f"{module}.py").write_text(INTERRUPTING)
    process = begun(name, tmp_path, "--help")
    out, err = process.communicate(timeout=300)
    assert (process.returncode, out, err) == (130, "", f"{name}: interrupted\n")


WHILE_PYTHON_ENDS = """
import atexit, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
import gs_densify.cli.train
atexit.register(os.kill, os.getpid(), signal.SIGINT)
sys.argv = ["gs-train", "--version"]
gs_densify.cli.train.main()
"""


def test_an_interrupt_while_python_ends_is_the_systems() -> None:
    code = [sys.executable, "-c", WHILE_PYTHON_ENDS]
    done = subprocess.run(code, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


@pytest.mark.long
def test_an_interrupt_at_any_time_is_one_line(tmp_path: Path) -> None:
    for case in range(cases("GS_INTERRUPTS", 100)):
        options = "--scene tiny --downscale 4 --steps 9 --device cpu --evaluation.lpips".split()
        process = begun("gs-train", tmp_path, *options, "--schedule-factor", "1")
        time.sleep(0.03 * case)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=300)
        # While Python itself ends, the system ends it: a shell says 130 of that, too.
        assert process.returncode in (0, 130, -signal.SIGINT), err
        assert "Traceback" not in err, (case, err)
