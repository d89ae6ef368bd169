"""Training where pixels do not count: what they show reaches neither model nor strategy."""

from typing import Any

import numpy as np
import pytest
import torch
from tqdm import tqdm

from gs_densify.check.miniature import Miniature, load_miniature
from gs_densify.config.options import LossOptions, TrainConfig
from gs_densify.model.init import create_splats
from gs_densify.rendering.rasterizers import rasterizer_for
from gs_densify.rendering.renderer import Renderer
from gs_densify.strategies.adapter import StrategyAdapter
from gs_densify.training.batches import ViewStore
from gs_densify.training.trainer import Trainer


@pytest.fixture(scope="module")
def scene() -> Miniature:
    return load_miniature()


class Watcher:
    """A strategy that keeps what it is shown."""

    def __init__(self) -> None:
        self.seen: list[tuple[list[int], torch.Tensor]] = []

    def step_post_backward(self, info: dict[str, Any], step: int) -> None:
        self.seen.append((info["views"], (info["render"] - info["image"]).abs()))
        view = info["probe"](step)
        self.seen.append(([step], (view.render - view.image).abs()))


def train(
    scene: Miniature, photos: list[np.ndarray], masks: list[np.ndarray | None], ssim: float
) -> tuple[Trainer, Watcher]:
    device, watcher = torch.device("cpu"), Watcher()
    config = TrainConfig(scene="tiny", steps=4, seed=5, loss=LossOptions(ssim=ssim))
    splats = create_splats(
        scene.points,
        scene.colors,
        scene_scale=scene.scene_scale,
        sh_degree=0,
        init_opacity=0.1,
        init_scale=1.0,
        device=device,
    )
    views = ViewStore(scene.views, photos, device, budget=1e9, masks=masks)
    host = StrategyAdapter("watcher", watcher)
    renderer = Renderer(rasterizer_for(device))
    trainer = Trainer(config, splats, views, renderer, host, scene_scale=1.0)
    trainer.run(4, lambda row: None, tqdm(disable=True))
    return trainer, watcher


def masks_of(scene: Miniature) -> list[np.ndarray | None]:
    masks: list[np.ndarray | None] = [np.ones(photo.shape[:2], bool) for photo in scene.photos]
    for mask in masks[1:]:
        assert mask is not None
        mask[5:20, 10:30] = False
    return masks


def test_what_masked_pixels_show_changes_nothing(scene: Miniature) -> None:
    masks = masks_of(scene)
    hidden = [
        np.where(mask[..., None], photo, 255 - photo)
        for mask, photo in zip(masks, scene.photos, strict=True)
    ]
    one, _ = train(scene, scene.photos, masks, ssim=0.0)
    two, _ = train(scene, hidden, masks, ssim=0.0)
    three, _ = train(scene, hidden, [None] * len(masks), ssim=0.0)
    for name, values in one.splats.items():
        assert torch.equal(values, two.splats[name]), name
    assert not torch.equal(one.splats["means"], three.splats["means"])


def test_strategies_see_no_error_at_masked_pixels(scene: Miniature) -> None:
    masks = masks_of(scene)
    _, watcher = train(scene, scene.photos, masks, ssim=0.2)
    assert len(watcher.seen) == 8
    for views, error in watcher.seen:
        visible = torch.from_numpy(np.stack([masks[i] for i in views]))
        assert (error[~visible] == 0).all() and (error[visible] > 0).any()


def test_masks_that_hide_nothing_leave_training_as_it_is(scene: Miniature) -> None:
    full = [np.ones(photo.shape[:2], bool) for photo in scene.photos]
    one, _ = train(scene, scene.photos, full, ssim=0.2)
    two, _ = train(scene, scene.photos, [None] * len(full), ssim=0.2)
    for name, values in one.splats.items():
        assert torch.equal(values, two.splats[name]), name
