"""When a rasteriser may step the parameters in its backward pass, and which it is given."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gs_densify.check.miniature import Miniature, load_miniature, make_trainer
from gs_densify.config.options import LearningRates, LossOptions, RenderOptions, TrainConfig
from gs_densify.distributed.group import Group
from gs_densify.model import adam
from gs_densify.rendering.rasterizers import make_rasterizer
from gs_densify.rendering.renderer import Renderer
from gs_densify.strategies.adapter import StrategyAdapter
from gs_densify.strategies.base import Strategy
from gs_densify.training import dropout
from gs_densify.training.modules.base import Modules
from gs_densify.training.replicas import Replicas
from gs_densify.training.updates import Updates


class Stored:
    """The reference as a rasteriser of stored parameters, which keeps what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[int | None, adam.UpdateInBackward | None]] = []

    def of_stored(self, means, quats, scales, opacities, *args: Any, view, update, **options: Any):
        self.asked.append((view, update))
        rasterizer = make_rasterizer("reference")
        return rasterizer(means, quats, scales.exp(), opacities.sigmoid(), *args, **options)


class Summing(Strategy):
    def update_every(self, step: int) -> int:
        return 2


class Decaying(Strategy):
    def regularization(self, params: Any, step: int) -> torch.Tensor:
        return params["opacities"].sigmoid().mean()


@pytest.fixture(scope="module")
def miniature() -> Miniature:
    return load_miniature()


def asked(miniature: Miniature, strategy: Strategy, **options: Any) -> list[bool]:
    """Whether steps were handed over, in each of four steps."""
    config = TrainConfig(scene="tiny", device="cpu", steps=100, **options)
    trainer = make_trainer(config, miniature, StrategyAdapter("one", strategy))
    rasterizer = Stored()
    trainer._forward._renderer = Renderer(rasterizer)
    for step in range(4):
        trainer.step(step)
    assert all(view in range(len(trainer.views)) for view, _ in rasterizer.asked)
    return [update is not None for _, update in rasterizer.asked]


def test_steps_are_handed_over_where_the_gradient_is_the_renderings_alone(miniature) -> None:
    assert asked(miniature, Strategy()) == [True] * 4
    assert asked(miniature, Summing()) == [False, True, False, True]
    assert asked(miniature, Decaying()) == [False] * 4
    assert asked(miniature, Strategy(), lr=LearningRates(visible_only=True)) == [False] * 4
    assert asked(miniature, Strategy(), loss=LossOptions(opacity_reg=0.01)) == [False] * 4


def test_with_dropout_what_is_drawn_stands_for_the_opacities(miniature, monkeypatch) -> None:
    monkeypatch.setattr(adam, "_runs_kernels", lambda parameter: True)
    config = TrainConfig(scene="tiny", device="cpu", steps=100, render=RenderOptions(dropout=0.5))
    trainer = make_trainer(config, miniature, StrategyAdapter("one", Strategy()))
    drawn = dropout.without_some(trainer.splats, 0.5)
    assert 0.2 < (drawn["opacities"] != trainer.splats["opacities"]).float().mean() < 0.8
    inputs = dict(drawn)
    update = trainer._updates.in_backward()
    with trainer._updates.backward_pass():
        assert update.take(inputs).keys() == inputs.keys() - {"opacities"}
        assert update.through(drawn).take(inputs).keys() == inputs.keys()


@pytest.mark.parametrize("left_out", [0.0, 0.5])
def test_steps_that_nobody_takes_are_the_optimisers(miniature, left_out) -> None:
    config = TrainConfig(
        scene="tiny", device="cpu", steps=9, render=RenderOptions(dropout=left_out)
    )
    found = []
    for is_handed_over in (True, False):
        trainer = make_trainer(config, miniature, StrategyAdapter("one", Strategy()))
        if not is_handed_over:
            trainer._updates.in_backward = lambda: None
        for step in range(3):
            torch.manual_seed(step)
            trainer.step(step)
        found.append({name: value.detach().clone() for name, value in trainer.splats.items()})
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_no_other_backward_pass_makes_the_steps(miniature, monkeypatch) -> None:
    monkeypatch.setattr(adam, "_runs_kernels", lambda parameter: True)
    config = TrainConfig(scene="tiny", device="cpu", steps=100)
    trainer = make_trainer(config, miniature, StrategyAdapter("one", Strategy()))
    inputs = dict(trainer.splats)
    update = trainer._updates.in_backward().through(inputs)
    assert update.take(inputs) == {}
    with trainer._updates.backward_pass():
        assert update.take(inputs).keys() == inputs.keys()
    assert update.take(inputs) == {}
    counts = {float(trainer.optimizers[n].state[one]["step"]) for n, one in inputs.items()}
    assert counts == {1.0}


def test_processes_step_by_the_sum_of_their_gradients() -> None:
    for size, is_handed_over in ((1, True), (2, False)):
        group, nothing = Group(0, size), SimpleNamespace(optimizers={})
        updates = Updates(nothing, Modules({}), Replicas(group), group, visible_only=False)
        assert (updates.in_backward() is not None) == is_handed_over


def test_a_step_is_taken_of_parameters_whose_gradient_goes_nowhere_else(monkeypatch) -> None:
    monkeypatch.setattr(adam, "_runs_kernels", lambda parameter: True)
    params = {name: torch.nn.Parameter(torch.rand(3, 2)) for name in ("a", "b", "c", "d", "e")}
    optimizers = {name: adam.QuickAdam([one], lr=0.1) for name, one in params.items()}
    optimizers["b"] = torch.optim.SGD([params["b"]], lr=0.1)
    params["c"].grad = torch.ones(3, 2)
    params["d"].register_hook(lambda gradient: None)
    params["i"] = torch.nn.Parameter(torch.rand(3, 2))
    params["i"].register_post_accumulate_grad_hook(lambda parameter: None)
    optimizers["i"] = adam.QuickAdam([params["i"]], lr=0.1)
    stand_in = torch.rand(3, 2)
    params["h"] = torch.nn.Parameter(torch.rand(3, 2))
    optimizers["h"] = adam.QuickAdam([params["h"]], lr=0.1)
    others = {"e": params["e"].detach().clone(), "f": torch.rand(3, 2), "g": None, "h": stand_in}
    update = adam.UpdateInBackward(optimizers).through({"h": stand_in})
    taken = update.take({**params, **others})
    assert taken.keys() == {"a", "h"}
    assert all(taken[name].parameter is params[name] for name in taken)
    assert float(optimizers["a"].state[params["a"]]["step"]) == 1
    assert not optimizers["c"].state[params["c"]]
    monkeypatch.undo()
    adam.update(optimizers)
    assert float(optimizers["a"].state[params["a"]]["step"]) == 1
