"""Help is quick and true."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import run
from forks import MODULES

from gs_densify.strategies.registry import BUILTIN


@pytest.mark.parametrize("command", sorted(MODULES))
def test_help_needs_no_torch(command: str) -> None:
    code = (
        f"import sys; sys.argv = ['{command}', '--help']\n"
        f"from {MODULES[command]} import main\n"
        "try:\n    main()\n"
        "except SystemExit as stop:\n    assert not stop.code\n"
        "heavy = {'torch', 'gsplat', 'pycolmap', 'torchmetrics', 'scipy', 'viser'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_gone_is_no_fault(unbuffered: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", MODULES["gs-strategies"], "list"],
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_help_lists_the_strategies(tmp_path: Path) -> None:
    shown = run("gs-train", "--help", cwd=tmp_path).stdout
    assert all(name in shown for name in BUILTIN)


def test_help_with_a_strategy_shows_its_options_with_defaults(tmp_path: Path) -> None:
    shown = run("gs-train", "--strategy", "default", "--help", cwd=tmp_path).stdout
    assert "--strategy.grow-grad2d FLOAT" in shown
    assert "0.0002" in shown


def test_gs_scene_info_says_what_a_scene_holds(tiny: Path, tmp_path: Path) -> None:
    done = run("gs-scene", "info", tiny, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "32 photos in images (96x64): 28 to train on, 4 held out" in done.stdout
