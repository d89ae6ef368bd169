"""One tiny scene and one finished run for all tests of the commands."""

import shutil
from pathlib import Path

import pytest
from commands import SMOKE, run


@pytest.fixture(scope="session")
def tiny(cached_tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes") / "room one"
    shutil.copytree(cached_tiny, folder)
    return folder


@pytest.fixture(scope="session")
def finished_run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    done = run(
        *("gs-train", "--scene", tiny, "--out", "run", "--evaluation.steps", 20, *SMOKE),
        *("--init.opacity", 0.1, "--init.scale", 1),  # covers the picture in so few steps
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return folder / "run"
