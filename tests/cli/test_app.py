"""What all commands share."""

import shutil
import subprocess
import sys
from pathlib import Path

from commands import run

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
