"""A run's folder is moved, removed or replaced while it trains, or its strategy goes elsewhere."""

from pathlib import Path

import pytest
from commands import SMOKE

from gs_densify.cli.train import command as train
from gs_densify.errors import ConfigError, ResultError, StrategyError

STRATEGY = """
import os, shutil
from dataclasses import dataclass
from gs_densify.strategies.base import Strategy
{on_import}
@dataclass
class CustomStrategy(Strategy):
    def initialize_state(self, scene_scale=1.0):
        {at_start}
    def step_post_backward(self, params, optimizers, state, step, info):
        if step == 2:
            {at_step}
"""
OPTIONS = ["--steps", "4", "--log-every", "2", "--checkpoint-every", "1", "--schedule-factor", "1"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "here").mkdir()
    (tmp_path / "elsewhere/run").mkdir(parents=True)
    (tmp_path / "elsewhere/run/mine").write_text("mine")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def run_with(scene: Path, **code: str) -> None:
    parts = {"on_import": "", "at_start": "pass", "at_step": "pass"} | code
    Path("s.py").write_text(STRATEGY.format(**parts))
    train(["--scene", str(scene), "--strategy", "s.py", "--out", "run", *SMOKE, *OPTIONS])


def files_of(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ("os.rename('run', 'moved')", {"s.py", "moved"}),
        ("os.rename('run', 'moved'); os.mkdir('run')", {"s.py", "moved", "run"}),
        ("shutil.rmtree('run')", {"s.py"}),
    ],
)
def test_a_folder_that_is_gone_is_not_made_anew(
    change: str, left: set[str], tiny: Path, here: Path
) -> None:
    with pytest.raises(ResultError, match="run's folder was moved, removed or replaced") as caught:
        run_with(tiny, at_step=change)
    assert "go on with gs-train --resume and its new place" in str(caught.value)
    assert files_of(here) == left
    if "run" in left:
        assert not files_of(here / "run")
    if "moved" in left:
        Path("moved").rename("again")
        Path("s.py").write_text("gone")
        strategy = Path("again/s.py")
        strategy.write_text(strategy.read_text().replace(change, "pass"))
        train(["--resume", "again"])
        assert {"config.yml", "results.json"} <= files_of(here / "again")


@pytest.mark.parametrize("hook", ["at_start", "at_step"])
def test_a_strategy_that_goes_elsewhere_leaves_the_run_in_one_folder(
    hook: str, tiny: Path, here: Path
) -> None:
    run_with(tiny, **{hook: "os.chdir('../elsewhere')"})
    whole = {"config.yml", "metrics.jsonl", "checkpoints", "renders", "results.json"}
    assert whole <= files_of(here / "run")
    assert files_of(here.parent / "elsewhere/run") == {"mine"}


def test_what_is_removed_of_a_run_that_fails_is_its_own(tiny: Path, here: Path) -> None:
    with pytest.raises(StrategyError, match="ZeroDivisionError"):
        run_with(tiny, at_start="os.chdir('../elsewhere'); 1 / 0")
    assert files_of(here) == {"s.py"}
    assert files_of(here.parent / "elsewhere/run") == {"mine"}


def test_a_strategy_file_that_goes_elsewhere_is_refused(tiny: Path, here: Path) -> None:
    with pytest.raises(ConfigError, match=r"strategy file s\.py: changes the working folder to"):
        run_with(tiny, on_import="os.chdir('../elsewhere')")
    assert Path.cwd() == here
