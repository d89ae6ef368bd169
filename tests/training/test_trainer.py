"""The loop: steps rendered together, and where they end."""

import dataclasses
from typing import Any

import pytest
import torch
from tqdm import tqdm

from gs_densify.check.miniature import Miniature, load_miniature, make_trainer
from gs_densify.check.rules import first_difference
from gs_densify.check.subject import stored
from gs_densify.config.options import LearningRates, RenderOptions, TrainConfig
from gs_densify.errors import StrategyError
from gs_densify.runs.checkpoint import from_bytes, restore_random_state
from gs_densify.strategies.adapter import StrategyAdapter
from gs_densify.strategies.base import Strategy
from gs_densify.training import resolution
from gs_densify.training.trainer import Trainer


class Summing(Strategy):
    """Updates after every 4th step; what may be rendered together is a parameter."""

    def __init__(self, together: int) -> None:
        self.together = together
        self.calls: list[tuple[int, int]] = []

    def update_every(self, step: int) -> int:
        return 4

    def steps_together(self, step: int) -> int:
        return self.together

    def step_post_backward(self, params: Any, optimizers: Any, state: Any, step: int, info: Any,
                           packed: bool = False) -> None:  # fmt: skip
        self.calls.append((step, len(info["views"])))


@pytest.fixture(scope="module")
def miniature() -> Miniature:
    return load_miniature()


def trained(miniature: Miniature, together: int, steps: int) -> tuple[Trainer, Summing]:
    strategy = Summing(together)
    config = TrainConfig(scene="tiny", strategy="default", steps=100, log_every=6)
    trainer = make_trainer(config, miniature, StrategyAdapter("summing", strategy))
    rows: list[int] = []
    with tqdm(disable=True) as bar:
        trainer.run(steps, lambda row: rows.append(row.step), bar)
    assert rows == [*range(6, steps, 6), steps]
    assert trainer.progress.step == steps
    return trainer, strategy


def test_steps_join_between_updates_and_lines_of_figures(
    miniature: Miniature,
) -> None:
    _, alone = trained(miniature, together=1, steps=20)
    _, grouped = trained(miniature, together=3, steps=20)
    assert alone.calls == [(step, 1) for step in range(20)]
    # Never beyond an update (after 4, 8, ...), nor beyond a line of figures (after 6, 12, ...).
    assert grouped.calls == [
        *((0, 3), (3, 1), (4, 2), (6, 2), (8, 3), (11, 1)),
        *((12, 3), (15, 1), (16, 2), (18, 2)),
    ]


def test_gradients_of_steps_rendered_together_are_the_sum_of_theirs(miniature: Miniature) -> None:
    one, three = (trained(miniature, together, steps=3)[0] for together in (1, 3))
    for name in ("means", "scales", "opacities", "sh0"):  # quats of spheres have none
        expected, found = one.splats[name].grad, three.splats[name].grad
        assert expected is not None and found is not None
        assert expected.norm() > 0
        assert (found - expected).norm() <= 1e-4 * expected.norm(), name


@pytest.mark.parametrize(("visible_only", "former"), [(False, False), (True, False), (False, True)])
def test_a_checkpoint_amid_summed_gradients_resumes_to_the_same_bits(
    miniature: Miniature, visible_only: bool, former: bool
) -> None:
    lr = LearningRates(visible_only=visible_only)
    config = TrainConfig(scene="tiny", strategy="default", steps=16, log_every=6, lr=lr)

    def advanced(trainer: Trainer, until: int) -> Trainer:
        with tqdm(disable=True) as bar:
            trainer.run(until, lambda row: None, bar)
        return trainer

    def new() -> Trainer:
        return make_trainer(config, miniature, StrategyAdapter("summing", Summing(together=1)))

    trainer = advanced(new(), 6)  # updates after 4 and 8
    assert trainer.splats["means"].grad is not None
    saved = from_bytes(stored(trainer))
    if former:  # Earlier versions did not save the number, which follows from the step.
        assert saved.pop("summed") == 2
    whole, resumed = advanced(trainer, 16), new()
    resumed.load_state_dict(saved)
    restore_random_state(saved["random"], torch.device("cpu"))
    expected, found = (from_bytes(stored(one)) for one in (whole, advanced(resumed, 16)))
    assert first_difference(expected, found) is None


def test_a_pause_after_each_group_of_steps_changes_no_bit(miniature: Miniature) -> None:
    config = TrainConfig(scene="tiny", strategy="default", steps=16, log_every=6)
    rows: list[int] = []

    def new(strategy: Summing) -> Trainer:
        return make_trainer(config, miniature, StrategyAdapter("summing", strategy))

    def advanced(trainer: Trainer) -> Trainer:
        with tqdm(disable=True) as bar:
            trainer.run(16, lambda row: rows.append(row.step), bar)
        return trainer

    strategy = Summing(together=3)
    whole, trainer = advanced(new(strategy)), new(Summing(together=3))
    calls: list[tuple[int, int]] = []
    while trainer.progress.step < 16:
        saved = from_bytes(stored(trainer))
        paused = Summing(together=3)
        trainer = new(paused)
        trainer.load_state_dict(saved)
        restore_random_state(saved["random"], torch.device("cpu"))
        trainer.is_to_pause = lambda: True
        calls += advanced(trainer).adapter.strategy.calls
    assert calls == strategy.calls
    assert rows == [6, 12, 16] * 2
    expected, found = (from_bytes(stored(one)) for one in (whole, trainer))
    assert first_difference(expected, found) is None


def test_the_first_steps_see_reduced_photos_where_that_is_asked_for(
    miniature: Miniature, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolution, "SMALLEST_SIDE", 12)  # the miniature has 48x32 pixels
    sizes: list[tuple[int, ...]] = []

    class Sizes(Strategy):
        def step_post_backward(self, params: Any, optimizers: Any, state: Any, step: int, info: Any,
                               packed: bool = False) -> None:  # fmt: skip
            assert info["image"].shape[1:3] == (info["height"], info["width"])
            sizes.append((info["width"], info["height"], info["reduction"]))

    render = RenderOptions(coarse_until=0.5)
    config = TrainConfig(scene="tiny", strategy="default", steps=20, render=render)
    trainer = make_trainer(config, miniature, StrategyAdapter("sizes", Sizes()))
    with tqdm(disable=True) as bar:
        trainer.run(20, lambda row: None, bar)
    width, height = trainer.views.sizes[0]
    steps_reduced = sizes.count((width // 2, height // 2, 2))
    assert 1 <= steps_reduced <= 9
    assert sizes[steps_reduced:] == [(width, height, 1)] * (20 - steps_reduced)


class Watching(Strategy):
    """Keeps what a step and a probe of the first view render."""

    def step_post_backward(self, params: Any, optimizers: Any, state: Any, step: int, info: Any,
                           packed: bool = False) -> None:  # fmt: skip
        self.brightest = info["render"].max(), info["probe"](0).render.max()


@pytest.mark.parametrize(("near_plane", "is_drawn"), [(0.01, True), (1e3, False)])
def test_nothing_nearer_than_the_near_plane_is_drawn_while_training(
    near_plane: float, is_drawn: bool, miniature: Miniature
) -> None:
    strategy = Watching()
    scene = dataclasses.replace(miniature, near_plane=near_plane)
    config = TrainConfig(scene="tiny", steps=1)
    trainer = make_trainer(config, scene, StrategyAdapter("watching", strategy))
    with tqdm(disable=True) as bar:
        trainer.run(1, lambda row: None, bar)
    assert [bool(value > 0) for value in strategy.brightest] == [is_drawn, is_drawn]


@pytest.mark.parametrize(
    ("hooks", "said"),
    [
        ({"sh_degree": lambda self, step, scheduled: 4}, "sh_degree: gave 4; the model has 0 to 3"),
        ({"sh_degree": lambda self, step, scheduled: -1}, "sh_degree: gave -1"),
        (
            {"num_attributed_maps": lambda self, step: 2},
            r"attributed_maps: is missing, though num_attributed_maps asks for maps",
        ),
        (
            {
                "num_attributed_maps": lambda self, step: 2,
                "attributed_maps": lambda self, step, info: info["image"],
            },
            r"gave \(1, 32, 48, 3\); maps of shape \(1, 32, 48, 2\)",
        ),
    ],
)
def test_what_a_strategy_asks_of_the_rasteriser_must_fit(
    miniature: Miniature, hooks: dict[str, Any], said: str
) -> None:
    strategy = type("Asking", (), hooks)()
    config = TrainConfig(scene="tiny", strategy="default", steps=1)
    trainer = make_trainer(config, miniature, StrategyAdapter("asking", strategy))
    with tqdm(disable=True) as bar, pytest.raises(StrategyError, match=said) as caught:
        trainer.run(1, lambda row: None, bar)
    assert "strategy 'asking', step 0" in str(caught.value)
