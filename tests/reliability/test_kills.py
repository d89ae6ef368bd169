"""Runs that are killed and resumed, up to four times: not a bit differs from what they would be.

They are killed by SIGKILL, SIGTERM or SIGINT, at a time, or right before or after a file is put in
its place, written to the disk, or removed.
"""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from forks import Forked, command, run
from long_form import cases
from small_runs import METHODS, arguments, figures, whole

SIGNALS = {signal.SIGKILL: (-9,), signal.SIGTERM: (75, -15), signal.SIGINT: (130,)}
"""With the codes of processes that they end."""
MOST_EVENTS, MOST_SECONDS = 60, 3.0


def end_at(event: int, number: int, call: Callable[[], object]) -> None:
    """Gets a signal at an event of the file system, counted from 1."""
    left = [event]

    def note() -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), number)

    def between(function: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any, **options: Any) -> Any:
            note()
            found = function(*arguments, **options)
            note()
            return found

        return noted

    for name in ("replace", "fsync", "unlink", "ftruncate"):
        setattr(os, name, between(getattr(os, name)))
    call()


def attempt(folder: Path, arguments: list[str], number: int, draw: random.Random) -> bool:
    """Runs gs-train and ends it; returns whether it was done before."""
    call = command("gs-train", arguments)
    if draw.random() < 0.5:
        call = partial(end_at, draw.randint(1, MOST_EVENTS), number, call)
        process = Forked(call, folder)
    else:
        process = Forked(call, folder)
        time.sleep(draw.uniform(0.01, MOST_SECONDS))
        process.kill(number)
    ended = process.wait()
    assert "Traceback" not in ended.err, ended.said
    assert ended.code == 0 or ended.code in SIGNALS[signal.Signals(number)], ended.said
    return ended.code == 0


def finish(folder: Path, method: str, draw: random.Random) -> int:
    """Finishes a run that is killed up to four times; returns how often it was."""
    kills = 0
    for left in reversed(range(draw.randint(1, 4) + 1)):
        path = folder / "run"
        options = arguments(method)
        if (path / "config.yml").is_file():
            options = ["--resume", "run"]
            if not (path / "checkpoints").is_dir() or not any(path.glob("checkpoints/step*.pt")):
                ended = run("gs-train", *options, folder=folder)
                assert (ended.code, "first checkpoint" in ended.err) == (2, True), ended.said
                options = arguments(method)
        if options[0] != "--resume":
            shutil.rmtree(path, ignore_errors=True)
        if left == 0:
            ended = run("gs-train", *options, folder=folder)
            assert ended.code == 0, ended.said
        elif attempt(folder, options, draw.choice(list(SIGNALS)), draw):
            break
        else:
            kills += 1
    return kills


def check_runs(folder: Path, wanted: int) -> None:
    """Kills as often as wanted, and compares every run with one that nothing interrupts."""
    reference = cache(lambda method: whole(method, folder))
    kills = runs = 0
    while kills < wanted:
        draw, method = random.Random(runs), list(METHODS)[runs % len(METHODS)]
        before = reference(method)
        kills += finish(folder, method, draw)
        found = figures(folder / "run")
        different = [name for name in before if found[name] != before[name]]
        said = f"case {runs}, {method}, after {kills} kills: {different}, {found['files']}"
        assert not different, said
        shutil.rmtree(folder / "run")
        runs += 1
        print(f"\r{kills} kills in {runs} runs", end="", flush=True)
    print(f"\n{kills} kills in {runs} runs: no difference")


def test_a_run_that_is_killed_ends_as_one_that_is_not(here: Path) -> None:
    check_runs(here, 1)


@pytest.mark.long
def test_many_runs_that_are_killed(here: Path) -> None:
    check_runs(here, cases("GS_KILLS", 500))
