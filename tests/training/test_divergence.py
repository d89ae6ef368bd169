"""A training that diverges says what became non-finite, when, and under which rates and losses."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from tqdm import tqdm

from gs_densify.check.miniature import Miniature, load_miniature, make_trainer
from gs_densify.config.options import LearningRates, TrainConfig
from gs_densify.errors import DivergenceError, NonFiniteError, StrategyError
from gs_densify.results import MetricsLog, MetricsRow
from gs_densify.strategies import ops
from gs_densify.strategies.adapter import StrategyAdapter
from gs_densify.strategies.base import Strategy


@pytest.fixture(scope="module")
def miniature() -> Miniature:
    return load_miniature()


def train(
    scene: Miniature, strategy: Any, log: MetricsLog | None = None, **options: Any
) -> list[MetricsRow]:
    config = TrainConfig(scene="tiny", strategy="default", steps=30, log_every=10, **options)
    trainer = make_trainer(config, scene, StrategyAdapter("bystander", strategy))
    rows: list[MetricsRow] = []
    with tqdm(disable=True) as bar:
        trainer.run(30, rows.append if log is None else log.append, bar)
    return rows


def test_a_huge_rate_is_not_blamed_on_a_strategy_that_does_nothing(miniature: Miniature) -> None:
    with pytest.raises(DivergenceError) as caught:
        train(miniature, Strategy(), lr=LearningRates(scales=1e4))
    text = str(caught.value)
    assert caught.value.exit_code == 2 and "bystander" not in text
    assert "seen after step 9: 'means' is not finite in " in text and "--lr.NAME" in text
    assert re.search(r"the loss was 0\.\d+ at step 0, 0\.\d+ at step 9", text)
    assert "scales 1e+04" in text


class Refining(Strategy):
    """Splits at step 4, where it hands over what the training had done."""

    def step_post_backward(self, params: Any, optimizers: Any, state: Any, step: int, info: Any,
                           packed: bool = False) -> None:  # fmt: skip
        if step == 4:
            ops.duplicate(params, optimizers, state, torch.arange(ops.count(params)) < 1)


def test_what_a_refinement_finds_non_finite_is_the_training_s_where_the_loss_was(
    miniature: Miniature,
) -> None:
    with pytest.raises(DivergenceError, match="seen after step 4"):
        train(miniature, Refining(), lr=LearningRates(scales=1e4))


@pytest.mark.parametrize("step", [3, 9, 25])
def test_a_hook_that_writes_nan_is_to_blame(miniature: Miniature, step: int) -> None:
    class Writing(Strategy):
        def step_post_backward(self, params: Any, optimizers: Any, state: Any, step: int,
                               info: Any, packed: bool = False) -> None:  # fmt: skip
            if step == at:
                with torch.no_grad():
                    params["opacities"][3] = float("nan")
                ops.duplicate(params, optimizers, state, torch.arange(ops.count(params)) < 1)

    at = step
    with pytest.raises(NonFiniteError, match=f"'bystander', step {step}.*'opacities' is not"):
        train(miniature, Writing())


@pytest.mark.parametrize("at", [4, 9])
def test_a_loss_term_of_the_strategy_is_its_own(miniature: Miniature, at: int) -> None:
    class Adding(Strategy):
        def regularization(self, params: Any, step: int) -> Any:
            return 0.0 * params["means"].sum() + (float("nan") if step == at else 0.0)

    with pytest.raises(StrategyError, match=f"step {at}, regularization: gave nan"):
        train(miniature, Adding())


def test_a_loss_that_is_not_finite_with_finite_parameters_is_said_before_the_log_sees_it(
    miniature: Miniature, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gs_densify.training import trainer as module

    real = module.photometric_loss

    def broken(*arguments: Any, **named: Any) -> Any:
        loss, terms = real(*arguments, **named)
        return loss, {**terms, "ssim_loss": terms["ssim_loss"] * float("inf")}

    monkeypatch.setattr(module, "photometric_loss", broken)
    with (
        MetricsLog(tmp_path / "metrics.jsonl") as log,
        pytest.raises(DivergenceError, match=r"at step 0 first \(l1 0\.\d+, ssim_loss inf"),
    ):
        train(miniature, Strategy(), log)
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_finite_training_raises_nothing(miniature: Miniature) -> None:
    rows = train(miniature, Refining())
    assert [row.step for row in rows] == [10, 20, 30]
    assert all(json.loads(json.dumps(row.loss)) == row.loss for row in rows)
