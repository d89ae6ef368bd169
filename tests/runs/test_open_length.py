"""A run whose length was left open: what it keeps, and how it goes on."""

import dataclasses
from pathlib import Path

import pytest
import yaml

from gs_densify.cli.arguments import parse_resumed, parse_train_arguments
from gs_densify.config import length
from gs_densify.config.options import TrainConfig
from gs_densify.errors import ConfigError
from gs_densify.results import read_metrics
from gs_densify.runs.checkpoint_files import checkpoints
from gs_densify.runs.train import resume, train

FLAGS = "--scene tiny --strategy default --evaluation.lpips --evaluation.pictures 0 --device cpu"
FLAGS += " --downscale 4 --steps auto --evaluation.steps 9 --log-every 7"


@pytest.fixture(autouse=True)
def _one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(length, "PASSES", 1)
    monkeypatch.setattr(length, "LEAST", 1)


def asked(*flags: object) -> TrainConfig:
    return parse_train_arguments([*FLAGS.split(), *map(str, flags)])


def test_a_run_keeps_what_was_asked_for_and_what_was_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    results, run = train(asked("--out", tmp_path / "run"), ["gs-train"])
    said = capsys.readouterr().err
    assert "--steps auto: 28 steps, 1 passes over 28 photos" in said
    assert "made for 30,000 steps, is scaled to 28" in said
    assert (results.steps, results.found["steps"], results.config["steps"]) == (28, 28, "auto")
    assert [row.step for row in read_metrics(run / "metrics.jsonl")][-1] == 28
    saved = yaml.safe_load((run / "config.yml").read_text())
    assert (saved["steps"], saved["schedule_factor"]) == ("auto", None)
    given, _ = train(asked("--steps", 28, "--out", tmp_path / "given"), ["gs-train"])
    assert (given.scores, given.counts) == (results.scores, results.counts)
    assert "steps" not in given.found

    # What was found when the run began counts, whatever the rule of a later version.
    monkeypatch.setattr(length, "PASSES", 2)
    (run / "results.json").unlink()
    checkpoints(run)[-1].unlink()
    config = parse_resumed(["--resume", str(run)])
    assert config is not None and config.steps == "auto"
    whole = read_metrics(run / "metrics.jsonl")
    resumed, _ = resume(config)
    assert (resumed.steps, resumed.found["steps"], resumed.resumed_at) == (28, 28, [9])
    ended = read_metrics(run / "metrics.jsonl")
    clocks = {"train_seconds": 0.0, "step_milliseconds": None}
    assert [dataclasses.replace(row, **clocks) for row in ended] == [
        dataclasses.replace(row, **clocks) for row in whole
    ]


def test_a_step_beyond_the_length_that_is_found_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="steps has 29; a run of 28 steps"):
        train(asked("--evaluation.steps", 29, "--out", tmp_path / "run"), ["gs-train"])
    assert not (tmp_path / "run").exists()
