"""Two finished runs of different strategies on the tiny scene, for all tests that show them."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
sys.path.insert(0, str(Path(__file__).parents[1] / "results"))

from commands import SMOKE, run

_BROWSER, _DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
_FLAGS = (
    *("headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"),
    *("disable-background-networking", "disable-component-update", "disable-sync"),
)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    for program in (_BROWSER, _DRIVER):
        if not program.exists():
            pytest.skip(f"there is no {program}")
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = str(_BROWSER)
    for flag in (*_FLAGS, f"user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(_DRIVER)))
    yield driver
    driver.quit()


@pytest.fixture(scope="session")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """`default`, evaluated twice, and `mcmc`, with pictures of the three worst views of four."""
    folder = tmp_path_factory.mktemp("report_runs")
    options = ["--scene", "tiny", "--evaluation.steps", 20, "--evaluation.pictures", 3, *SMOKE]
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
