"""--lr.visible-only: Gaussians that no view of an update drew stay as they are."""

import itertools
from typing import Any

import pytest
import torch

from gs_densify.check.miniature import Miniature, load_miniature, make_trainer
from gs_densify.config.options import LearningRates, TrainConfig
from gs_densify.strategies import ops
from gs_densify.strategies.adapter import StrategyAdapter
from gs_densify.training.trainer import Trainer


class Watcher:
    """Keeps what each step drew; sums the gradients of so many steps; moves a Gaussian once."""

    def __init__(self, update_every: int = 1, relocates_after: int = -1) -> None:
        self.drawn: list[torch.Tensor] = []
        self._update_every = update_every
        self._relocates_after = relocates_after

    def update_every(self, step: int) -> int:
        return self._update_every

    def step_post_backward(
        self, params: Any, optimizers: Any, state: Any, step: int, info: dict[str, Any]
    ) -> None:
        self.drawn.append((info["radii"] > 0).all(-1).any(0))
        if step == self._relocates_after:
            ops.relocate(params, optimizers, state, torch.arange(ops.count(params)) == 0)


class Turns:
    """Views 0 and 3, one at a time."""

    def __init__(self) -> None:
        self.order = itertools.cycle([0, 3])

    def take(self, most: int = 1) -> list[list[int]]:
        return [[next(self.order)]]

    def peek(self, most: int = 1) -> list[list[int]]:
        return []


@pytest.fixture(scope="module")
def scene() -> Miniature:
    return load_miniature()


def _trainer(scene: Miniature, watcher: Watcher, *, visible_only: bool = True) -> Trainer:
    """Views 0 and 3 in turn; a third of the Gaussians is seen by neither, a third by 0 alone."""
    rates = LearningRates(visible_only=visible_only, weight_decay=0.01)
    config = TrainConfig(scene="tiny", device="cpu", lr=rates)
    trainer = make_trainer(config, scene, StrategyAdapter("watcher", watcher))
    trainer.sampler = Turns()  # type: ignore[assignment]
    from_world = trainer.views.viewmats[0]
    position, forward = -from_world[:3, :3].T @ from_world[:3, 3], from_world[2, :3]
    with torch.no_grad():
        means = trainer.splats["means"]
        means[::3] = position - 100 * forward + means[::3]
        means[1::3] = position + 8 * forward + 0.1 * means[1::3]
    return trainer


def _changed(trainer: Trainer, step: int) -> torch.Tensor:
    """Rows [N] that a step changes; weight decay lets no updated row stay as it is."""
    before = {name: value.detach().clone() for name, value in trainer.splats.items()}
    trainer.step(step)
    changes = [
        (value != before[name]).reshape(len(value), -1).any(1)
        for name, value in trainer.splats.items()
    ]
    return torch.stack(changes).any(0)


def test_rows_change_where_the_step_drew_them(scene: Miniature) -> None:
    watcher = Watcher()
    trainer = _trainer(scene, watcher)
    for step in range(4):
        assert torch.equal(_changed(trainer, step), watcher.drawn[step])
    first, second = (int(drawn.sum()) for drawn in watcher.drawn[:2])
    assert 0 < second < first < len(watcher.drawn[0])


def test_all_rows_change_without_the_option(scene: Miniature) -> None:
    watcher = Watcher()
    trainer = _trainer(scene, watcher, visible_only=False)
    assert _changed(trainer, 0).all() and not watcher.drawn[0].all()


def test_rows_that_any_of_the_summed_steps_drew_change(scene: Miniature) -> None:
    watcher = Watcher(update_every=2)
    trainer = _trainer(scene, watcher)
    for step in (0, 2):
        assert not _changed(trainer, step).any()
        changed = _changed(trainer, step + 1)
        assert torch.equal(changed, watcher.drawn[step] | watcher.drawn[step + 1])
        assert not torch.equal(changed, watcher.drawn[step + 1])


def test_rows_drawn_before_an_operation_change_after_it(scene: Miniature) -> None:
    watcher = Watcher(update_every=2, relocates_after=0)
    trainer = _trainer(scene, watcher)
    _changed(trainer, 0)
    changed, (first, second) = _changed(trainer, 1), watcher.drawn
    assert not (changed & ~(first | second)).any()
    missing = (first | second) & ~changed
    # What was moved, and what it was moved onto, lost the gradient of the first step.
    assert int(missing.sum()) <= 2 and (first & ~second & changed).any()
