"""What a run holds back, by how often it sees each photo."""

import dataclasses
import itertools

import pytest

from gs_densify.check.miniature import Miniature, load_miniature, make_trainer
from gs_densify.config.options import LearningRates, RenderOptions, TrainConfig
from gs_densify.errors import ConfigError
from gs_densify.strategies.adapter import StrategyAdapter
from gs_densify.strategies.base import Strategy
from gs_densify.training import passes
from gs_densify.training.trainer import Trainer


@pytest.fixture(scope="module")
def scene() -> Miniature:
    return load_miniature()


def trainer_of(scene: Miniature, config: TrainConfig) -> Trainer:
    return make_trainer(config, scene, StrategyAdapter("none", Strategy()))


@pytest.mark.parametrize(
    ("steps", "views", "dropout", "others_final"),
    [
        (7_000, 255, 0.1, 1.0),
        (10_000, 100, 0.1, 1.0),
        (20_000, 100, 0.15, 0.1**0.5),
        (30_000, 100, 0.2, 0.1),
        (30_000, 30, 0.2, 0.1),
    ],
)
def test_more_is_held_back_the_more_often_each_photo_is_seen(
    steps: int, views: int, dropout: float, others_final: float
) -> None:
    strain = passes.strain(steps, views)
    assert passes.dropout("auto", strain) == pytest.approx(dropout)
    assert passes.others_final("auto", strain) == pytest.approx(others_final)


def test_it_never_falls_with_the_passes_and_asked_values_stay() -> None:
    strains = [passes.strain(steps, 50) for steps in range(0, 20_000, 500)]
    assert all(before <= after for before, after in itertools.pairwise(strains))
    assert (passes.dropout(0.3, 1.0), passes.others_final(0.5, 1.0)) == (0.3, 0.5)


def test_a_run_finds_them_by_its_views_and_steps_and_says_so(scene: Miniature) -> None:
    views = len(scene.views)
    config = TrainConfig(
        scene="tiny",
        steps=100 * views,
        batch_size=2,  # 200 passes
        lr=LearningRates(others_final="auto"),
        render=RenderOptions(dropout="auto"),
    )
    trainer = trainer_of(scene, config)
    assert trainer.restraint.found == {
        "lr.others_final": pytest.approx(0.1**0.5),
        "render.dropout": pytest.approx(0.15),
    }
    first = {name: one.param_groups[0]["lr"] for name, one in trainer.optimizers.items()}
    trainer.rates.set(config.steps // 2)
    half = {name: one.param_groups[0]["lr"] for name, one in trainer.optimizers.items()}
    assert all(half[name] == first[name] for name in first.keys() - {"means"})
    trainer.rates.set(config.steps)
    for name, optimizer in trainer.optimizers.items():
        share = 0.01 if name == "means" else 0.1**0.5
        assert optimizer.param_groups[0]["lr"] == pytest.approx(share * first[name])


def test_what_was_asked_for_is_not_found(scene: Miniature) -> None:
    asked = TrainConfig(scene="tiny", steps=10, render=RenderOptions(dropout=0.25))
    trainer = trainer_of(scene, asked)
    assert trainer.restraint.found == {}
    assert (trainer.restraint.dropout, trainer.restraint.others_final) == (0.25, 1.0)


def test_rates_that_do_not_fall_are_the_strategys_to_change(scene: Miniature) -> None:
    trainer = trainer_of(scene, TrainConfig(scene="tiny", steps=10))
    trainer.optimizers["scales"].param_groups[0]["lr"] = 0.5
    trainer.step(9)
    assert trainer.optimizers["scales"].param_groups[0]["lr"] == 0.5


def test_rates_that_rise_are_refused() -> None:
    config = TrainConfig(scene="tiny")
    with pytest.raises(ConfigError, match=r"lr\.others-final.*1"):
        dataclasses.replace(config, lr=LearningRates(others_final=2.0))
