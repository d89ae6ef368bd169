"""Runs the real commands in subprocesses."""

import os
import subprocess
import sys
from pathlib import Path

MODULES = {
    "gs-train": "gs_densify.cli.train",
    "gs-eval": "gs_densify.cli.eval",
    "gs-scene": "gs_densify.cli.scene",
    "gs-strategies": "gs_densify.cli.strategies",
    "gs-view": "gs_densify.cli.view",
}
SMOKE = "--steps 40 --schedule-factor 0.005 --log-every 20 --evaluation.lpips --device cpu".split()


def run(
    command: str, *arguments: object, cwd: Path, **environment: str
) -> subprocess.CompletedProcess:
    """Run a command in `cwd`, where it may write."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith("GS_") or k == "GS_CACHE"}
    return subprocess.run(
        [sys.executable, "-m", MODULES[command], *map(str, arguments)],
        cwd=cwd,
        env={**variables, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def refusal(done: subprocess.CompletedProcess, code: int = 2) -> str:
    """The one line that a refused command printed."""
    assert done.returncode == code, f"exit {done.returncode}: {done.stderr}{done.stdout}"
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]
