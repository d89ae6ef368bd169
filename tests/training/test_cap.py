"""--max-gaussians: which Gaussians stay, at the start and while training."""

import dataclasses
from typing import Any

import pytest
import torch
from tqdm import tqdm

from gs_densify.check.miniature import Miniature, load_miniature, make_trainer
from gs_densify.config.options import TrainConfig
from gs_densify.strategies import ops
from gs_densify.strategies.adapter import StrategyAdapter
from gs_densify.strategies.base import Strategy
from gs_densify.training.trainer import Trainer


@pytest.fixture(scope="module")
def miniature() -> Miniature:
    return load_miniature()


def trainer_of(scene: Miniature, strategy: Any, cap: int | None) -> Trainer:
    config = TrainConfig(scene="tiny", steps=10, log_every=10, max_gaussians=cap)
    return make_trainer(config, scene, StrategyAdapter("s", strategy, max_gaussians=cap))


def test_points_above_the_cap_are_thinned_evenly_and_not_by_their_order(
    miniature: Miniature,
) -> None:
    count = len(miniature.points)
    kept = trainer_of(miniature, Strategy(), count // 4).splats["means"].detach()
    points = torch.from_numpy(miniature.points)
    assert len(kept) == count // 4
    ours = torch.cdist(points, kept).amin(dim=1).mean()
    first = torch.cdist(points, points[: count // 4]).amin(dim=1).mean()
    assert ours < 0.9 * first
    shuffled = dataclasses.replace(miniature, points=miniature.points[::-1].copy())
    again = trainer_of(shuffled, Strategy(), count // 4).splats["means"].detach()
    assert torch.cdist(points, again).amin(dim=1).mean() < 0.9 * first


def test_the_first_scales_are_those_of_the_points_that_stay(miniature: Miniature) -> None:
    capped, whole = (trainer_of(miniature, Strategy(), cap) for cap in (40, None))
    means = capped.splats["means"].detach()
    distances = torch.cdist(means, means).topk(4, largest=False).values[:, 1:]
    expected = distances.square().mean(dim=1).sqrt()
    torch.testing.assert_close(capped.splats["scales"].detach()[:, 0].exp(), expected)
    assert expected.mean() > 1.2 * whole.splats["scales"].exp().mean()


class Doubling(Strategy):
    """Sets opacities apart and doubles the model, far above the cap."""

    def step_post_backward(self, params: Any, optimizers: Any, state: Any, step: int, info: Any,
                           packed: bool = False) -> None:  # fmt: skip
        if step == 4:
            with torch.no_grad():
                rows = torch.arange(ops.count(params), dtype=torch.float32)
                params["opacities"].copy_(rows.sin())
            self.before = params["opacities"].detach().clone()
            ops.duplicate(params, optimizers, state, torch.ones(ops.count(params)) > 0)


def test_the_most_opaque_stay_whatever_the_strategy_does(miniature: Miniature) -> None:
    strategy = Doubling()
    trainer = trainer_of(miniature, strategy, len(miniature.points))
    with tqdm(disable=True) as bar:
        trainer.run(5, lambda row: None, bar)
    kept = trainer.splats["opacities"].detach().sort().values
    doubled = torch.cat([strategy.before] * 2).sort().values
    torch.testing.assert_close(kept, doubled[-len(miniature.points) :])
