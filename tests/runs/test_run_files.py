"""Files are written beside the evaluation: of the model that is scored, or the run fails."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from gs_densify.config.options import EvaluationOptions, TrainConfig
from gs_densify.errors import ResultError
from gs_densify.runs import checkpoint_writer
from gs_densify.runs import session as run_process
from gs_densify.runs.train import train
from gs_densify.training.trainer import Trainer


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    evaluation = EvaluationOptions(lpips=(), steps=(2,), pictures=1)
    return TrainConfig(
        scene="tiny",
        strategy="default",
        device="cpu",
        steps=4,
        out=tmp_path / "run",
        evaluation=evaluation,
    )


def test_a_checkpoint_is_written_while_its_model_is_scored_and_before_it_is_trained_on(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored, trained, seen = threading.Event(), threading.Event(), []
    save, score, run = checkpoint_writer.save_checkpoint, run_process.score, Trainer.run

    def slow_save(path: Path, contents: Mapping[str, Any]) -> None:
        means = contents["splats"]["means"].clone()
        assert scored.wait(60), "it is scored meanwhile"
        went_on = trained.wait(0.3)
        seen.append((went_on, torch.equal(contents["splats"]["means"], means)))
        save(path, contents)

    def noted_score(*arguments: Any, **options: Any) -> Any:
        trained.clear()
        evaluation = score(*arguments, **options)
        scored.set()
        return evaluation

    def noted_run(self: Trainer, *arguments: Any) -> None:
        trained.set()
        run(self, *arguments)
        scored.clear()

    monkeypatch.setattr(checkpoint_writer, "save_checkpoint", slow_save)
    monkeypatch.setattr(run_process, "score", noted_score)
    monkeypatch.setattr(Trainer, "run", noted_run)
    train(config, [])
    assert seen == [(False, True), (False, True)]


@pytest.mark.parametrize(
    "what",
    [
        "checkpoint_writer.save_checkpoint",
        "outputs.model_files.ModelFiles.trained",
        "outputs.compat.save_compat",
    ],
)
def test_a_file_that_cannot_be_written_ends_the_run(
    what: str, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise ResultError("no space left")

    monkeypatch.setattr(f"gs_densify.runs.{what}", fail)
    with pytest.raises(ResultError, match="no space left"):
        train(config, [])
    assert config.out is not None and not (config.out / "results.json").exists()


def test_a_picture_that_cannot_be_written_ends_the_run(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.out.mkdir()  # type: ignore[union-attr]
    monkeypatch.setattr("PIL.Image.Image.save", lambda *a, **o: open("/no/such/folder"))
    with pytest.raises(ResultError, match="cannot be written"):
        train(config, [])
