"""What a strategy asks for by attributes and hooks, and what the trainer gives it."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from tqdm import tqdm

from gs_densify.check.miniature import load_miniature, make_trainer
from gs_densify.config.options import TrainConfig
from gs_densify.errors import StrategyError
from gs_densify.strategies import ops
from gs_densify.strategies.adapter import StrategyAdapter


@dataclass
class Plain:
    """A class with gsplat's attribute alone, as gsplat's own strategies have it."""

    absgrad: bool

    def step_pre_backward(self, info: dict[str, Any]) -> None:
        info["means2d"].retain_grad()

    def step_post_backward(self, info: dict[str, Any]) -> None:
        self.found = getattr(info["means2d"], "absgrad", None)
        self.signed = info["means2d"].grad


class Asking(Plain):
    """Asks by the hook, which goes before the attribute."""

    def needs_absgrad(self, step: int) -> bool:
        return not self.absgrad


@pytest.mark.parametrize(
    ("strategy", "wanted"),
    [(Plain(True), True), (Plain(False), False), (Asking(True), False), (Asking(False), True)],
)
def test_absolute_gradients_are_there_where_they_are_asked_for(
    strategy: Plain, wanted: bool
) -> None:
    config = TrainConfig(scene="tiny", steps=1)
    trainer = make_trainer(config, load_miniature(), StrategyAdapter("asking", strategy))
    with tqdm(disable=True) as bar:
        trainer.run(1, lambda row: None, bar)
    assert (strategy.found is not None) == wanted
    if wanted:
        signed, found = strategy.signed, strategy.found
        assert found.shape == signed.shape and (found > 0).any()
        assert (found >= signed.abs() * (1 - 1e-3) - 1e-9).all()
    assert torch.isfinite(strategy.signed).all()


class Breaking:
    """Leaves the model inconsistent after the second step."""

    def __init__(self, breach: str) -> None:
        self.breach = breach

    def initialize_state(self) -> dict[str, Any]:
        return {"seen": None}

    def step_post_backward(
        self, params: Any, optimizers: Any, state: Any, step: int, info: dict[str, Any]
    ) -> None:
        if step == 0:
            state["seen"] = torch.zeros(ops.count(params))
        elif self.breach == "another tensor":
            params["quats"] = torch.nn.Parameter(params["quats"].detach().clone())
        elif self.breach == "moments":
            entries = optimizers["means"].state[params["means"]]
            entries["exp_avg"] = entries["exp_avg"][1:]
        elif self.breach == "statistic":
            others = {name: value for name, value in state.items() if name != "seen"}
            ops.duplicate(params, optimizers, others, torch.arange(ops.count(params)) < 3)


@pytest.mark.parametrize(
    ("breach", "said"),
    [
        ("another tensor", r"the optimiser of 'quats' trains another tensor \(of 160 rows\)"),
        ("moments", r"'exp_avg' of the optimiser of 'means' has shape \(159, 3\), .*\(160, 3\)"),
        ("statistic", r"statistic 'seen' has 160 rows, the model 163"),
    ],
)
def test_a_strategy_that_leaves_something_out_of_step_is_named(breach: str, said: str) -> None:
    config = TrainConfig(scene="tiny", steps=3)
    trainer = make_trainer(config, load_miniature(), StrategyAdapter("breaking", Breaking(breach)))
    with tqdm(disable=True) as bar, pytest.raises(StrategyError, match=said) as caught:
        trainer.run(3, lambda row: None, bar)
    assert "strategy 'breaking', step 1, step_post_backward" in str(caught.value)
