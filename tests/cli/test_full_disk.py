"""A disk that is full while a run saves a checkpoint, its figures, or its strategy's file."""

import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from commands import SMOKE

from gs_densify.cli.train import command as train
from gs_densify.errors import ResultError
from gs_densify.results import MetricsLog, MetricsRow, load_results, read_metrics
from gs_densify.runs import checkpoint_writer

ROW = MetricsRow(step=1, loss=0.5, num_gaussians=2, train_seconds=3.0)
STRATEGY = """
from dataclasses import dataclass
from gs_densify.strategies.base import Strategy

@dataclass
class CustomStrategy(Strategy):
    def step_post_backward(self, params, optimizers, state, step, info):
        pass
"""


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """As on a full disk, bytes beyond a file's `size` are refused by the system."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_checkpoint_that_nobody_asked_for_does_not_end_the_run(
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save = checkpoint_writer.save_checkpoint

    def save_at_the_end(path: Path, contents: Mapping[str, Any]) -> None:
        with no_file_above(10**9 if contents["step"] == 3 else 100_000):
            return save(path, contents)

    monkeypatch.setattr(checkpoint_writer, "save_checkpoint", save_at_the_end)
    options = ["--steps", "3", "--checkpoint-minutes", "1e-9", "--out", str(tmp_path / "run")]
    train(["--scene", str(tiny), *SMOKE, *options])
    said = capsys.readouterr().err
    assert said.count("there is no checkpoint, and training goes on: ") == 2
    assert "step_000001.pt: cannot be written (File too large)" in said
    assert [path.name for path in (tmp_path / "run/checkpoints").iterdir()] == ["step_000003.pt"]


@pytest.mark.parametrize("good", [0, 1])
def test_it_is_said_in_words_with_how_to_go_on(
    good: int, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, saved = checkpoint_writer.save_checkpoint, []

    def save_on_a_full_disk(path: Path, contents: Mapping[str, Any]) -> None:
        saved.append(path)
        if len(saved) <= good:
            return save(path, contents)
        with no_file_above(100_000):
            return save(path, contents)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checkpoint_writer, "save_checkpoint", save_on_a_full_disk)
    options = ["--evaluation.steps", "1", "2", "--steps", "3"]
    with pytest.raises(ResultError) as caught:
        train(["--scene", str(tiny), "--out", "my run", *SMOKE, *options])
    step = good + 1
    message = (
        f"{tmp_path}/my run/checkpoints/step_00000{step}.pt: cannot be written (File too large)"
    )
    advice = "; mend that, and go on with gs-train --resume 'my run'" if good else ""
    assert str(caught.value) == f"{message}{advice}"
    assert len(list(Path("my run/checkpoints").iterdir())) == good, "no half of a file"
    if good:
        monkeypatch.undo()
        monkeypatch.chdir(tmp_path)
        train(["--resume", "my run"])
        assert load_results(Path("my run/results.json")).steps == 3


def test_a_line_of_figures_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path) as log:
        log.append(ROW)
        size = path.stat().st_size
        with no_file_above(size + 20), pytest.raises(ResultError, match="cannot be written"):
            log.append(ROW)
        assert path.stat().st_size == size
        log.append(ROW)
    assert read_metrics(path) == [ROW, ROW]


def test_a_copy_of_the_strategy_that_finds_no_room_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.py").write_text(f"{STRATEGY}{'#' * 9999}")
    options = ["--scene", "tiny", "--strategy", "s.py", *SMOKE, "--schedule-factor", "1"]
    with no_file_above(5000), pytest.raises(ResultError, match=r"s\.py: cannot be written"):
        train([*options, "--out", "run"])
    assert [path.name for path in tmp_path.iterdir()] == ["s.py"]
