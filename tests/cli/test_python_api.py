"""gs_densify.train, load and evaluate: what the commands do, from Python."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import gs_densify
from gs_densify.config.options import EvaluationOptions, TrainConfig
from gs_densify.errors import ConfigError, ResultError
from gs_densify.results.files import load_results
from gs_densify.runs.train import train as train_as_it_stands

PAGE = Path(__file__).parents[2] / "docs" / "python.md"


def test_the_import_costs_nothing() -> None:
    code = (
        "import sys, gs_densify; print([m for m in ('torch', 'numpy', 'tyro') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
    assert {"train", "load", "evaluate"} <= set(dir(gs_densify))
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = gs_densify.trian


def test_a_run_is_that_of_the_command(tiny: Path, finished_run: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    run = gs_densify.train(
        tiny,
        steps=40,
        schedule_factor=0.005,
        log_every=20,
        device="cpu",
        evaluation={"lpips": (), "steps": (20,)},
        init={"opacity": 0.1, "scale": 1},
        out=tmp_path / "run",
        quiet=True,
    )
    assert torch.get_num_threads() == before
    made = load_results(finished_run / "results.json")
    assert run.results.config | {"out": None} == made.config | {"out": None}
    assert run.scores == made.scores
    assert [row.step for row in run.metrics] == [20, 40]
    name = "point_cloud.ply"
    assert (run.folder / name).read_bytes() == (finished_run / name).read_bytes()
    files = {one.name for one in finished_run.iterdir() if not one.name.startswith("again_")}
    assert {one.name for one in run.folder.iterdir()} == files
    assert len(run.splats["means"]) == run.results.counts.final
    assert "PSNR" in repr(run)
    scored = gs_densify.evaluate(run, lpips=(), out=tmp_path / "scored", quiet=True)
    assert scored.scores == run.scores
    assert scored.folder == tmp_path / "scored"


def test_what_only_a_command_line_can_have_is_refused(finished_run: Path, tmp_path: Path) -> None:
    for options in ({"setps": 3}, {"steps": "many"}):
        with pytest.raises(ConfigError):
            gs_densify.train("tiny", **options)
    for name in ("dry_run", "debug", "help", "help_all", "version"):
        with pytest.raises(ConfigError, match=f"^'{name}' is for the command line alone"):
            gs_densify.train("tiny", **{name: True})
    with pytest.raises(ConfigError, match="is for the command line alone"):
        gs_densify.evaluate(finished_run, compare=(finished_run, finished_run))
    with pytest.raises(ResultError, match=r"results.json"):
        gs_densify.load(tmp_path)


def test_the_code_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 7
    names: dict[str, object] = {}
    for block in blocks:
        short = block.replace("steps=1000)", "steps=2, device='cpu', evaluation={'lpips': ()})")
        short = short.replace("1000", "2").replace("500", "1")
        exec(compile(short, str(PAGE), "exec"), names)


def test_a_configuration_made_by_hand_says_what_it_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluation = EvaluationOptions(lpips=(), pictures=0)
    config = TrainConfig(
        scene="tiny",
        strategy="mcmc",
        steps=2,
        device="cpu",
        evaluation=evaluation,
        out=tmp_path / "run",
    )
    train_as_it_stands(config, ["a program of mine"])
    said = capsys.readouterr().err
    assert "strategy 'mcmc' and the scene bring other settings: " in said
    assert "init.opacity 0.5 (here 0.1)" in said and "lr.means 0.0016 (here 0.00016)" in said
    assert "strategy.max_gaussians 3000 (here 1000000)" in said
