"""Runs the real commands in processes of their own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pycolmap
from forks import MODULES, Forked
from forks import command as called

SMOKE = "--steps 40 --schedule-factor 0.005 --log-every 20 --evaluation.lpips --device cpu".split()
_TIMEOUT = 300.0
# Variables that are read while Python and torch start.
_AT_THE_START = {"PYTHONIOENCODING", "OMP_NUM_THREADS"}


def run(command: str, *arguments: object, cwd: Path, **further: str) -> subprocess.CompletedProcess:
    """Run a command in `cwd`, where it may write."""
    if _AT_THE_START & further.keys():
        return start(command, *arguments, cwd=cwd, **further)
    ended = Forked(called(command, arguments), cwd, environment(further)).wait(_TIMEOUT)
    words = [command, *map(str, arguments)]
    if ended.code is None:
        raise subprocess.TimeoutExpired(words, _TIMEOUT)
    return subprocess.CompletedProcess(words, ended.code, ended.out, ended.err)


def start(
    command: str, *arguments: object, cwd: Path, **further: str
) -> subprocess.CompletedProcess:
    """Run a command as `run` does, in an interpreter of its own."""
    return subprocess.run(
        [sys.executable, "-m", MODULES[command], *map(str, arguments)],
        cwd=cwd,
        env=environment(further),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
    )


def environment(further: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of a command: those of the tests without the user's own for gs_densify."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GS_") or k == "GS_CACHE"}
    return {**kept, **(further or {})}


def come_near_to_a_camera(scene: Path) -> None:
    """Put a tenth of a scene's SfM points right before its first camera."""
    model = pycolmap.Reconstruction(scene / "sparse/0")
    image = min(model.images.values(), key=lambda image: image.name)
    world_from_camera = image.cam_from_world().inverse()
    points = list(model.points3D.values())
    for i, point in enumerate(points[::10]):
        point.xyz = world_from_camera * np.array([0.0, 1e-4 * i, 0.04])
    model.write_binary(scene / "sparse/0")


def refusal(done: subprocess.CompletedProcess, code: int = 2) -> str:
    """The one line that a refused command printed."""
    assert done.returncode == code, f"exit {done.returncode}: {done.stderr}{done.stdout}"
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]
