"""What --dry-run says against what a trainer takes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gs_densify.config.options import TrainConfig
from gs_densify.runs.forecast import forecast, forecast_text
from gs_densify.runs.loaded_scene import load
from gs_densify.scene.formats.tiny.make import make_tiny
from gs_densify.training.batches import ViewStore


@pytest.mark.parametrize("masked", [None, "001.png", "000.png"], ids=["none", "training", "test"])
def test_photos_take_the_memory_that_is_forecast(masked: str | None, tmp_path: Path) -> None:
    """One mask among the training views gives every photo a fourth channel."""
    make_tiny(tmp_path / "scene")
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
