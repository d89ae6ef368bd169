"""Runs on a disk that fills up: they end in words, and go on where there is room again."""

import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from forks import run
from long_form import cases
from small_runs import METHODS, arguments, figures, whole

ROOM = "64m"
LARGEST = 3000
"""kB: above what a run takes."""


@pytest.fixture
def disk(here: Path) -> Iterator[Path]:
    """A disk in memory, where this may be mounted."""
    disk = here / "disk"
    disk.mkdir()
    mounted = _mount("-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", disk)
    if mounted.returncode:
        pytest.skip("a disk can be mounted by root alone")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def _mount(*arguments: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["mount", *map(str, arguments)], capture_output=True)


def _resize(disk: Path, size: str) -> None:
    assert _mount("-o", f"remount,size={size}", disk).returncode == 0


@pytest.mark.long
def test_runs_on_disks_of_all_sizes(disk: Path) -> None:
    wanted, too_small = cases("GS_DISKS", 60), 0
    reference = cache(lambda method: whole(method, disk))
    for case in range(wanted):
        method = list(METHODS)[case % len(METHODS)]
        _resize(disk, ROOM)
        before = reference(method)
        _resize(disk, f"{LARGEST * (case + 1) // wanted}k")
        too_small += _fill_and_go_on(disk, method, before)
    print(f"\n{wanted} disks, {too_small} of them too small: no difference")


def _fill_and_go_on(disk: Path, method: str, before: dict[str, object]) -> bool:
    """Trains on a small disk, and then with room; returns whether it was too small."""
    ended = run("gs-train", *arguments(method), folder=disk)
    assert ended.code in (0, 2) and "Traceback" not in ended.err, ended.said
    if ended.code:
        last = ended.err.splitlines()[-1]
        assert last.startswith("gs-train: ") and "No space left on device" in last, ended.said
        assert not list(disk.rglob(".*")), "a temporary file is left"
        _resize(disk, ROOM)
        options = ["--resume", "run"]
        if not list(disk.glob("run/checkpoints/*.pt")):
            shutil.rmtree(disk / "run", ignore_errors=True)
            options = arguments(method)
        again = run("gs-train", *options, folder=disk)
        assert again.code == 0, again.said
    found = figures(disk / "run")
    assert not [name for name in before if found[name] != before[name]], method
    shutil.rmtree(disk / "run")
    return ended.code != 0
