"""What --dry-run says against what a trainer takes."""

import dataclasses
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gs_densify.config import length
from gs_densify.config.options import DataOptions, LearningRates, RenderOptions, TrainConfig
from gs_densify.errors import BackendError
from gs_densify.runs import forecast as forecasts
from gs_densify.runs import step_time
from gs_densify.runs.forecast import Forecaster, forecast, forecast_text
from gs_densify.runs.forecast_memory import memory_of
from gs_densify.runs.loaded_scene import load
from gs_densify.training.batches import ViewStore


@pytest.mark.parametrize("masked", [None, "001.png", "000.png"], ids=["none", "training", "test"])
def test_photos_take_the_memory_that_is_forecast(
    masked: str | None, cached_tiny: Path, tmp_path: Path
) -> None:
    """One mask among the training views gives every photo a fourth channel."""
    shutil.copytree(cached_tiny, tmp_path / "scene")
    if masked is not None:
        (tmp_path / "scene/masks").mkdir()
        mask = np.full((64, 96), 255, np.uint8)
        mask[:20] = 0
        Image.fromarray(mask).save(tmp_path / "scene/masks" / masked)
    config = TrainConfig(scene=str(tmp_path / "scene"), strategy="default", steps=40, device="cpu")
    found = forecast(config)
    said = found.memory
    assert "schedule    the schedule of strategy 'default'" in forecast_text(found)
    loaded = load(config)
    store = ViewStore(
        loaded.scene.train_views,
        loaded.train_photos,
        device=torch.device("cpu"),
        budget=config.data.image_budget * 2**30,
        masks=loaded.train_masks,
    )
    assert said.photos == sum(photo.nbytes for photo in store._photos)
    assert said.photos_on_host != store.is_on_device


def test_runs_share_what_their_forecasts_have_in_common(
    cached_tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(cached_tiny, tmp_path / "scene")
    loaded, timed = [], []

    def load_once(config: TrainConfig) -> Any:
        loaded.append(config)
        return load(config)

    def milliseconds(config: TrainConfig, scene: Any, start: Any, count: int, device: Any) -> float:
        timed.append(count)
        return float(count)

    monkeypatch.setattr(forecasts, "load_for_forecast", load_once)
    monkeypatch.setattr(step_time, "_milliseconds", milliseconds)
    forecaster = Forecaster()
    first = TrainConfig(scene=str(tmp_path / "scene"), strategy="default", device="cpu")
    first = dataclasses.replace(first, steps=1000, max_gaussians=5000)
    found = forecaster.forecast(first)
    assert (found.first, found.last, len(timed)) == (640, 5000, 2)
    # Whatever the strategy and its rates.
    other = dataclasses.replace(first, strategy="absgs", seed=1, lr=LearningRates(means=1.0))
    assert forecaster.forecast(other).milliseconds == found.milliseconds == (640.0, 5000.0)
    assert (len(loaded), len(timed)) == (1, 2)
    forecaster.forecast(dataclasses.replace(first, max_gaussians=7000))
    forecaster.forecast(dataclasses.replace(first, render=RenderOptions(antialiased=True)))
    assert (len(loaded), timed[2:]) == (1, [7000, 640, 5000])
    forecaster.forecast(dataclasses.replace(first, data=DataOptions(test_every=4)))
    assert (len(loaded), len(timed)) == (2, 7)


def test_a_length_that_is_left_open_is_forecast(
    cached_tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(cached_tiny, tmp_path / "scene")
    monkeypatch.setattr(step_time, "_milliseconds", lambda *_: 1.0)
    config = TrainConfig(scene=str(tmp_path / "scene"), strategy="default", device="cpu")
    config = dataclasses.replace(config, steps="auto", max_gaussians=5000)
    found = forecast(config)
    assert found.seconds == pytest.approx(14.0)
    said = forecast_text(found)
    assert "training    about 14 s for 14,000 steps" in said
    assert "schedule    --steps auto: 14,000 steps, 500 passes over 28 photos" in said
    assert "is scaled to 14,000" in said


def test_a_length_that_is_left_open_counts_all_photos_where_few_are_read(
    cached_tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(cached_tiny, tmp_path / "scene")
    monkeypatch.setattr(step_time, "_milliseconds", lambda *_: 1.0)
    monkeypatch.setattr(length, "LEAST", 1)
    config = TrainConfig(scene=str(tmp_path / "scene"), strategy="default", device="cpu")
    config = dataclasses.replace(config, steps="auto")
    on_disk = dataclasses.replace(config, data=DataOptions(host_budget=0))
    found = [forecast(one) for one in (config, on_disk)]
    assert found[1].loaded.sampled_from is not None
    assert len(found[1].loaded.scene.train_views) < len(found[1].scene.train_views)
    assert [one.config.length for one in found] == [14_000] * 2
    assert found[1].remarks == found[0].remarks


def test_a_forecast_for_several_gpus_says_how_it_was_timed_and_wants_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(step_time, "_milliseconds", lambda *_: 1.0)
    config = TrainConfig(scene="tiny", strategy="default", device="cpu", gpus=2, batch_size=2)
    timed = "own work, timed in one process with all views of a step\n"
    assert timed in forecast_text(forecast(dataclasses.replace(config, max_gaussians=5000)))
    with pytest.raises(BackendError, match="--gpus is 9, and torch sees"):
        forecast(dataclasses.replace(config, gpus=9, batch_size=9, device="auto"))


def test_a_cpu_times_small_steps_and_says_that_it_is_rough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Real ones take minutes each at a million Gaussians."""
    monkeypatch.setattr(step_time, "_PIXELS", 2000)
    real, timed = step_time._milliseconds, []

    def milliseconds(config: TrainConfig, scene: Any, start: Any, count: int, device: Any) -> float:
        assert {photo.shape for photo in scene.train_photos} == {(32, 48, 3)}
        if not timed:
            assert real(config, scene, start, count, device) > 0
        timed.append(count)
        return 1000 + count

    monkeypatch.setattr(step_time, "_milliseconds", milliseconds)
    config = TrainConfig(scene="tiny", strategy="default", device="cpu", max_gaussians=1_000_000)
    found = forecast(config)
    assert timed == [640, 16_000, 4_000]
    assert found.milliseconds == (4 * 1640.0, pytest.approx(4 * 1_001_000.0))
    said = forecast_text(found)
    assert "a step      6.6 s with 640 Gaussians, 4004.0 s with 1,000,000, on the CPU" in said
    assert "own work, roughly, by smaller steps\n" in said
    assert " days for 30,000 steps" in said


def test_gpus_that_share_the_gaussians_are_said_to_take_their_own() -> None:
    photos: Any = SimpleNamespace(train_views=[SimpleNamespace(width=100, height=50)] * 4)
    alone = TrainConfig(scene="tiny", batch_size=2)
    shared = dataclasses.replace(alone, gpus=2, parallel="gaussians")
    found = memory_of(shared, photos, 3001, has_masks=False)
    assert found == memory_of(alone, photos, 1501, has_masks=False)
    replicated = dataclasses.replace(alone, gpus=2)
    assert memory_of(replicated, photos, 3001, has_masks=False).gaussians == 3001
