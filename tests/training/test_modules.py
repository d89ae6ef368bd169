"""Further trainables: what they change, that they learn, and that they go on where they were."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from tqdm import tqdm

from gs_densify.check.miniature import Miniature, load_miniature, make_trainer
from gs_densify.check.rules import first_difference
from gs_densify.check.subject import stored
from gs_densify.config.options import TrainConfig
from gs_densify.runs.checkpoint import from_bytes
from gs_densify.strategies.adapter import StrategyAdapter
from gs_densify.strategies.base import Strategy
from gs_densify.training.modules import exposure
from gs_densify.training.modules.base import Modules, TrainableModule
from gs_densify.training.modules.exposure import Exposure
from gs_densify.training.trainer import Trainer


@pytest.fixture(scope="module")
def miniature() -> Miniature:
    return load_miniature()


def trainer_of(scene: Miniature, *modules: str, strategy: Any = None) -> Trainer:
    config = TrainConfig(scene="tiny", steps=60, log_every=60, modules=modules)
    return make_trainer(config, scene, StrategyAdapter("s", strategy or Strategy()))


def advanced(trainer: Trainer, until: int) -> Trainer:
    with tqdm(disable=True) as bar:
        trainer.run(until, lambda row: None, bar)
    return trainer


def test_exposure_starts_as_the_identity_and_takes_out_the_common_part() -> None:
    exposure, render = Exposure(3), torch.rand(2, 4, 5, 3)
    assert torch.equal(exposure.image(render, [0, 2]), render)
    with torch.no_grad():
        exposure.change += torch.randn(3, 4)  # the same for all views
    torch.testing.assert_close(exposure.image(render, [0, 2]), render)
    with torch.no_grad():
        exposure.change[1, :, 3] += 0.3
    torch.testing.assert_close(exposure.image(render, [1, 0])[0], render[0] + 0.2)


def test_exposure_explains_photos_that_are_brighter_by_turns(miniature: Miniature) -> None:
    photos = [
        np.clip(photo * (1.3 if i % 2 else 0.7), 0, 255).astype(np.uint8)
        for i, photo in enumerate(miniature.photos)
    ]
    scene = dataclasses.replace(miniature, photos=photos)
    module = advanced(trainer_of(scene, "exposure"), 60).modules.modules["exposure"]
    change = (module.change - module.change.mean(dim=0)).detach()
    gain = change[:, range(3), range(3)].mean(dim=1)
    assert gain[1::2].mean() > 0.003 > -0.003 > gain[0::2].mean()


class Summing(Strategy):
    def update_every(self, step: int) -> int:
        return 4


def test_a_checkpoint_amid_a_sum_goes_on_with_the_modules(miniature: Miniature) -> None:
    trainer = advanced(trainer_of(miniature, "exposure", strategy=Summing()), 6)
    saved = from_bytes(stored(trainer))
    assert saved["modules"]["exposure"]["gradients"]["change"].any()
    resumed = trainer_of(miniature, "exposure", strategy=Summing())
    resumed.load_state_dict(saved)
    expected, found = (from_bytes(stored(advanced(one, 12))) for one in (trainer, resumed))
    assert first_difference(expected, found) is None


def test_without_modules_nothing_changes(miniature: Miniature) -> None:
    modules, viewmats = Modules({}), torch.eye(4)[None]
    assert modules.cameras(viewmats, [0]) is viewmats and modules.image(viewmats, [0]) is viewmats
    assert modules.state_dict() == {}


def test_cameras_are_changed_before_rendering_and_have_gradients(
    miniature: Miniature, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Shift(TrainableModule):
        learning_rate = 1e-2

        def __init__(self, num_views: int) -> None:
            super().__init__(num_views)
            self.shift = torch.nn.Parameter(torch.zeros(num_views, 3))

        def cameras(self, viewmats: torch.Tensor, views: Any) -> torch.Tensor:
            moved = torch.zeros_like(viewmats)
            moved[:, :3, 3] = 1
            return (
                viewmats
                + moved * torch.nn.functional.pad(self.shift[list(views)], (0, 1))[:, :, None]
            )

    monkeypatch.setattr(exposure, "Exposure", Shift)
    trainer = trainer_of(miniature, "exposure")
    shift = trainer.modules.modules["exposure"]
    advanced(trainer, 20)
    assert (shift.shift.detach().abs() > 1e-4).any(dim=1).sum() >= 5
