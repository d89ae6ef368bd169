"""What all commands share."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import SMOKE, run
from forks import MODULES

CODE = """
import gc, sys
from gs_densify.cli.app import importing

before = len(gc.get_objects())
with importing():
    assert not gc.isenabled()
    import xml.dom.minidom
assert gc.isenabled()
assert gc.get_freeze_count() >= before > len(gc.get_objects())
assert not any(one is xml.dom.minidom.__dict__ for one in gc.get_objects())
try:
    with importing():
        raise KeyError
except KeyError:
    assert gc.isenabled()
"""


def test_the_collector_leaves_alone_what_is_imported() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_names_that_a_terminal_cannot_show_are_escaped(tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny, tmp_path / "caf\u00e9")
    done = run("gs-scene", "info", "caf\u00e9", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "scene caf\\xe9: " in done.stdout


@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full"])
def test_a_run_ends_with_results_where_stderr_takes_nothing(
    stderr: str, tiny: Path, tmp_path: Path
) -> None:
    train = [sys.executable, "-m", MODULES["gs-train"], "--scene", tiny, "--out", "run"]
    words = shlex.join(map(str, [*train, *SMOKE, "--steps", "2"]))
    done = subprocess.run(
        ["sh", "-c", f"{words} {stderr}"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "files: run" in done.stdout
    assert (tmp_path / "run/results.json").is_file()
    refused = subprocess.run(
        ["sh", "-c", f"{words} --steps none {stderr}"], cwd=tmp_path, capture_output=True
    )
    assert (refused.returncode, refused.stdout) == (2, b"")
