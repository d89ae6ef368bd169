"""Which photos fit the budget of device memory: every channel of every pixel is a byte."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gs_densify.scene.scene import View
from gs_densify.training.batches import ViewStore


@pytest.mark.parametrize("masked", [False, True])
def test_photos_fit_a_budget_of_their_bytes_and_of_no_less(masked: bool) -> None:
    sizes = [(7, 5), (7, 5), (4, 9)]
    views = [View("", Path(), 1, np.eye(4), np.eye(3), width, height) for width, height in sizes]
    photos = [np.zeros((height, width, 3), np.uint8) for width, height in sizes]
    masks = [np.ones((5, 7), bool), None, None] if masked else []
    total = (4 if masked else 3) * (35 + 35 + 36)
    for budget, fits in ((total, True), (total - 1, False)):
        store = ViewStore(views, photos, torch.device("cpu"), budget=budget, masks=masks)
        assert store.is_on_device == fits
