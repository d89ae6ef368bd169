"""Two finished runs of different strategies on the tiny scene, for all tests that show them."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
sys.path.insert(0, str(Path(__file__).parents[1] / "results"))

from commands import SMOKE, run


@pytest.fixture(scope="session")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """`default`, evaluated twice, and `mcmc`, with pictures of two held-out views each."""
    folder = tmp_path_factory.mktemp("report_runs")
    options = ["--scene", "tiny", "--evaluation.steps", 20, "--evaluation.pictures", 2, *SMOKE]
    for name in ("default", "mcmc"):
        done = run("gs-train", "--strategy", name, "--out", name, *options, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder / "default", folder / "mcmc"


Edit = Callable[[dict], None]


@pytest.fixture
def edited(tmp_path: Path) -> Callable[..., Path]:
    """Returns a copy of a run in which an edit has changed results and per-view scores."""

    def copy(run: Path, name: str, *, results: Edit | None = None, views: Edit | None = None):
        target = tmp_path / name
        shutil.copytree(run, target)
        for file, edit in (("results.json", results), ("per_view.json", views)):
            if edit is not None:
                value = json.loads((target / file).read_text())
                edit(value)
                (target / file).write_text(json.dumps(value))
        return target

    return copy
