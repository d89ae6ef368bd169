"""Paths that no system opens, nobody's home, and folders without permission: each in one line."""

import os
from functools import partial
from pathlib import Path

import pytest
from forks import Forked, command, run

CPU = ["--steps", "2", "--schedule-factor", "1", "--evaluation.lpips", "--device", "cpu"]
COMMANDS = {
    "scene": ("gs-train", "--scene", "{}", *CPU),
    "data root": ("gs-train", "--scene", "bonsai", "--data-root", "{}", *CPU),
    "out": ("gs-train", "--scene", "tiny", "--downscale", "4", "--out", "{}", *CPU),
    "config": ("gs-train", "--scene", "tiny", "--config", "{}.yml", *CPU),
    "strategy": ("gs-train", "--scene", "tiny", "--strategy", "{}.py", *CPU),
    "start": ("gs-train", "--scene", "tiny", "--init", "{}", *CPU),
    "resume": ("gs-train", "--resume", "{}"),
    "model": ("gs-eval", "{}"),
    "compare": ("gs-eval", "--compare", "{}", "{}"),
    "check of a scene": ("gs-scene", "check", "{}"),
    "report": ("gs-report", "{}"),
    "check of a strategy": ("gs-strategies", "check", "{}.py"),
    "view": ("gs-view", "{}"),
    "study": ("gs-bench", "{}"),
}
PATHS = {"long": "a" * 300, "nobody": "~nosuchuser/x", "denied": "denied/x", "loop": "loop/x"}


def as_nobody(name: str, arguments: list[str]) -> None:
    """Runs a command without the rights of root, which may read everything."""
    if os.geteuid() == 0:
        os.setegid(65534)
        os.seteuid(65534)
    command(name, arguments)()


@pytest.mark.parametrize("what", COMMANDS)
def test_a_path_that_cannot_be_used_is_refused_in_one_line(what: str, here: Path) -> None:
    (here / "denied").mkdir(mode=0o700)
    (here / "denied").chmod(0)
    (here / "loop").symlink_to("loop")
    for folder in (here, *here.parents[:3]):
        folder.chmod(0o777)
    kinds = PATHS if what in ("out", "strategy", "report") else ("long", "denied")
    for kind in kinds:
        path = PATHS[kind]
        name, *rest = COMMANDS[what]
        arguments = [word.replace("{}", path) for word in rest]
        ended = Forked(partial(as_nobody, name, arguments), here).wait()
        assert ended.code == 2, (kind, ended.said)
        assert ended.err.count("\n") == 1 and ended.err.startswith(f"{name}: "), (kind, ended.said)
    assert {path.name for path in here.iterdir()} == {"denied", "loop"}


def test_somebodys_folder_is_not_made_under_the_name_with_the_tilde(here: Path) -> None:
    ended = run("gs-train", "--scene", "tiny", "--out", "~nosuchuser/x", *CPU, folder=here)
    assert "the home folder of '~nosuchuser' is not known; write the whole path" in ended.err
    (here / "~nosuchuser").mkdir()
    ended = run("gs-scene", "info", here / "~nosuchuser", folder=here)
    assert "no COLMAP model" in ended.err, "the whole path is taken as it is"
