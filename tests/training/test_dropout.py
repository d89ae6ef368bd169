"""Gaussians that a training step leaves out at random."""

import itertools

import pytest
import torch

from gs_densify.check.miniature import Miniature, load_miniature, make_trainer
from gs_densify.config.options import RenderOptions, TrainConfig
from gs_densify.errors import ConfigError
from gs_densify.strategies.adapter import StrategyAdapter
from gs_densify.strategies.base import Strategy
from gs_densify.training.dropout import share_left_out, without_some


@pytest.fixture(scope="module")
def scene() -> Miniature:
    return load_miniature()


def test_the_share_falls_to_none_at_the_end() -> None:
    shares = [share_left_out(0.2, step, 100) for step in range(101)]
    assert (shares[0], shares[50], shares[100]) == (0.2, 0.1, 0.0)
    assert all(later < share for share, later in itertools.pairwise(shares))


def test_about_the_share_is_left_out_and_gets_no_gradient() -> None:
    torch.manual_seed(0)
    logits = torch.zeros(20_000, requires_grad=True)
    splats = {"opacities": logits, "means": torch.ones(20_000, 3)}
    kept = without_some(splats, 0.25)
    is_left_out = kept["opacities"].sigmoid() < 1 / 255
    assert float(is_left_out.float().mean()) == pytest.approx(0.25, abs=0.02)
    assert torch.equal(kept["opacities"][~is_left_out], logits[~is_left_out])
    assert kept["means"] is splats["means"]
    kept["opacities"].sum().backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad == 0, is_left_out)
    again = without_some(splats, 0.25)["opacities"].sigmoid() < 1 / 255
    assert not torch.equal(again, is_left_out)


def test_without_a_share_the_model_is_the_same_object_and_nothing_is_drawn() -> None:
    splats = {"opacities": torch.zeros(4)}
    before = torch.get_rng_state()
    assert without_some(splats, 0.0) is splats
    assert torch.equal(torch.get_rng_state(), before)


def test_a_step_renders_without_them(scene: Miniature) -> None:
    losses = {}
    for share in (0.0, 0.9):
        config = TrainConfig(scene="tiny", steps=10, render=RenderOptions(dropout=share))
        trainer = make_trainer(config, scene, StrategyAdapter("none", Strategy()))
        losses[share] = float(trainer.step(0)[0]["loss"])
    assert losses[0.9] > 1.1 * losses[0.0]


def test_a_share_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"between 0\.0 and 0\.9"):
        TrainConfig(scene="tiny", render=RenderOptions(dropout=1.0))
