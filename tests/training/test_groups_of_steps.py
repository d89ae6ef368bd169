"""Steps rendered in one call, or whose gradients are summed, are the sum of these steps."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from tqdm import tqdm

from gs_densify.check.miniature import Miniature, load_miniature, make_trainer
from gs_densify.config.options import LossOptions, RenderOptions, TrainConfig
from gs_densify.errors import StrategyError
from gs_densify.strategies import ops, statistics
from gs_densify.strategies.adapter import StrategyAdapter
from gs_densify.strategies.base import Strategy
from gs_densify.training.create import build_trainer
from gs_densify.training.trainer import Trainer


class Summing(Strategy):
    """Sums the gradients of `every` steps, renders `together` in a call, and observes."""

    def __init__(self, together: int, every: int = 4) -> None:
        self.together, self.every = together, every
        self.calls: list[tuple[int, int]] = []

    def update_every(self, step: int) -> int:
        return self.every

    def steps_together(self, step: int) -> int:
        return self.together

    def step_pre_backward(
        self, params: Any, optimizers: Any, state: Any, step: int, info: Any
    ) -> None:
        info["means2d"].retain_grad()

    def step_post_backward(self, params: Any, optimizers: Any, state: Any, step: int, info: Any,
                           packed: bool = False) -> None:  # fmt: skip
        self.calls.append((step, len(info["views"])))
        statistics.zeros_like_rows(state, ("grad2d", "count"), params["means"])
        statistics.accumulate_gradients(
            state, ops.count(params), info, absolute=False, packed=packed
        )


@pytest.fixture(scope="module")
def miniature() -> Miniature:
    return load_miniature()


def masks_of(scene: Miniature) -> list[np.ndarray]:
    """A tenth of every second photo is valid, and all of the others."""
    masks = []
    for i, photo in enumerate(scene.photos):
        mask = np.zeros(photo.shape[:2], bool)
        mask[:, : max(2, int(photo.shape[1] * (0.1 if i % 2 else 1.0)))] = True
        masks.append(mask)
    return masks


def trained(
    scene: Miniature,
    strategy: Any,
    config: TrainConfig,
    *,
    until: int,
    masks: list[np.ndarray] | tuple[()] = (),
    views: int | None = None,
) -> Trainer:
    trainer = build_trainer(
        config,
        StrategyAdapter("s", strategy),
        points=scene.points,
        colors=scene.colors,
        views=scene.views[:views],
        photos=scene.photos[:views],
        scene_scale=scene.scene_scale,
        near_plane=scene.near_plane,
        device=torch.device("cpu"),
        masks=masks,
    )
    with tqdm(disable=True) as bar:
        trainer.run(until, lambda row: None, bar)
    return trainer


CONFIG = TrainConfig(scene="tiny", strategy="default", steps=100, log_every=100)


def assert_same_gradients(one: Trainer, other: Trainer) -> None:
    for name in ("means", "scales", "opacities", "sh0"):  # quats of spheres have none
        expected, found = one.splats[name].grad, other.splats[name].grad
        assert expected is not None and found is not None
        assert expected.norm() > 0
        assert (found - expected).norm() <= 1e-4 * expected.norm(), name


@pytest.mark.parametrize("ssim", [0.0, 0.2])
def test_views_with_masks_weigh_the_same_in_a_group(miniature: Miniature, ssim: float) -> None:
    config = dataclasses.replace(CONFIG, loss=LossOptions(ssim=ssim))
    masks = masks_of(miniature)
    one, three = (trained(miniature, Summing(n), config, until=3, masks=masks) for n in (1, 3))
    assert_same_gradients(one, three)
    unmasked = trained(miniature, Summing(1), config, until=3)
    assert not torch.allclose(unmasked.splats["means"].grad, one.splats["means"].grad, rtol=0.1)


def test_a_smaller_last_batch_weighs_the_same_in_a_group(miniature: Miniature) -> None:
    config = dataclasses.replace(CONFIG, batch_size=3)  # 4 views: batches of 3 and 1
    strategies = Summing(1), Summing(2)
    one, two = (trained(miniature, s, config, until=2, views=4) for s in strategies)
    assert {views for _, views in strategies[0].calls} == {1, 3}
    assert strategies[1].calls == [(0, 4)]
    assert_same_gradients(one, two)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_strategies_see_the_gradients_of_one_step_at_a_time(
    miniature: Miniature, batch_size: int
) -> None:
    config = dataclasses.replace(CONFIG, batch_size=batch_size)
    masks = masks_of(miniature)
    one, three = (trained(miniature, Summing(n), config, until=3, masks=masks) for n in (1, 3))
    for name in ("grad2d", "count"):
        expected = one.gaussians.state[name]
        assert expected.norm() > 0
        torch.testing.assert_close(three.gaussians.state[name], expected, rtol=1e-3, atol=1e-6)


def test_regularisers_count_once_for_each_step(miniature: Miniature) -> None:
    loss = LossOptions(opacity_reg=3.0, scale_reg=5.0)
    config = dataclasses.replace(CONFIG, loss=loss)
    one, three = (trained(miniature, Summing(n), config, until=3) for n in (1, 3))
    assert_same_gradients(one, three)


def test_a_group_sees_one_sh_degree(miniature: Miniature) -> None:
    render = RenderOptions(sh_degree_every=3)
    config = dataclasses.replace(CONFIG, render=render)
    strategy = Summing(together=4, every=20)
    trained(miniature, strategy, config, until=10)
    assert strategy.calls == [(0, 3), (3, 3), (6, 3), (9, 1)]


class Attributing(Summing):
    """Wants a map at every second step."""

    def num_attributed_maps(self, step: int) -> int:
        return 1 if step % 2 else 0

    def attributed_maps(self, step: int, info: Any) -> torch.Tensor:
        return torch.ones_like(info["image"][..., :1])


def test_maps_are_attributed_one_step_at_a_time(miniature: Miniature) -> None:
    strategy = Attributing(together=3)
    trained(miniature, strategy, CONFIG, until=6)
    assert [views for step, views in strategy.calls if step % 2] == [1] * len(
        [step for step, _ in strategy.calls if step % 2]
    )


class Refining(Summing):
    """Changes the model in the middle of a group by the operation it is given."""

    def __init__(self, operation: Any) -> None:
        super().__init__(together=1, every=5)
        self.operation = operation

    def step_post_backward(self, params: Any, optimizers: Any, state: Any, step: int, info: Any,
                           packed: bool = False) -> None:  # fmt: skip
        if step == 2:
            self.operation(params, optimizers, state, torch.arange(ops.count(params)) < 2)


def test_summed_gradients_follow_the_operations(miniature: Miniature) -> None:
    plain = trained(miniature, Refining(lambda *rest: None), CONFIG, until=3)
    expected = plain.splats["means"].grad
    count = len(expected)
    copied = trained(miniature, Refining(ops.duplicate), CONFIG, until=3).splats["means"].grad
    torch.testing.assert_close(copied[:count], expected)
    assert len(copied) == count + 2 and not copied[count:].any()
    removed = trained(miniature, Refining(ops.remove), CONFIG, until=3).splats["means"].grad
    torch.testing.assert_close(removed, expected[2:])
    split = trained(miniature, Refining(ops.split), CONFIG, until=3).splats["means"].grad
    torch.testing.assert_close(split[: count - 2], expected[2:])
    assert len(split) == count + 2 and not split[-4:].any()
    moved = trained(miniature, Refining(ops.relocate), CONFIG, until=3).splats["means"].grad
    is_same = (moved == expected).all(dim=1)
    assert not moved[~is_same].any() and 2 <= int((~is_same).sum()) <= 4


def test_gradients_that_an_operation_loses_are_missed_in_words(miniature: Miniature) -> None:
    def lossy(params: Any, optimizers: Any, state: Any, mask: torch.Tensor) -> None:
        ops.remove(params, optimizers, state, mask)
        for value in params.values():
            value.grad = None

    with pytest.raises(StrategyError, match="'s', step 2, step_post_backward: the gradients of 3"):
        trained(miniature, Refining(lossy), CONFIG, until=4)


def test_the_last_steps_are_updated_though_they_are_fewer(miniature: Miniature) -> None:
    config = dataclasses.replace(CONFIG, steps=6)
    trainer = trained(miniature, Summing(together=1), config, until=6)  # updates after 4 and 6
    assert float(trainer.optimizers["means"].state[trainer.splats["means"]]["step"]) == 2
    assert trainer.splats["means"].grad is None
    halted = trained(miniature, Summing(together=1), CONFIG, until=6)
    assert halted.splats["means"].grad is not None
    assert not torch.equal(halted.splats["means"], trainer.splats["means"])


def test_groups_have_the_wanted_size_where_it_changes(miniature: Miniature) -> None:
    class Growing(Summing):
        def update_every(self, step: int) -> int:
            return 2 if step < 5 else 4

    strategy = Growing(together=1)
    updates = []
    config = dataclasses.replace(CONFIG, log_every=1)
    trainer = make_trainer(config, miniature, StrategyAdapter("s", strategy))
    with tqdm(disable=True) as bar:
        for step in range(1, 17):
            trainer.run(step, lambda row: None, bar)
            if trainer.splats["means"].grad is None:
                updates.append(step)
    assert updates == [2, 4, 8, 12, 16]
