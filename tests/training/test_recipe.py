"""The training recipe: the trainer against a bare loop in float64, and golden numbers."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import bare_loop
import numpy as np
import pytest
import torch
from bare_loop import Recipe
from torch import Tensor
from tqdm import tqdm

from gs_densify.check.miniature import Miniature, load_miniature, make_trainer
from gs_densify.config.options import (
    InitOptions,
    LearningRates,
    LossOptions,
    RenderOptions,
    TrainConfig,
)
from gs_densify.results import MetricsRow
from gs_densify.strategies import ops
from gs_densify.strategies.adapter import StrategyAdapter
from gs_densify.strategies.base import Strategy
from gs_densify.training.create import build_trainer
from gs_densify.training.trainer import Trainer

Masks = list[np.ndarray | None]


@pytest.fixture(scope="module")
def scene() -> Miniature:
    return load_miniature()


@dataclass
class Watching(Strategy):
    """Changes nothing; keeps the parameters after each step and the SH degrees it is told."""

    update_every_steps: int = 1
    together: int = 1
    values: list[dict[str, Tensor]] = field(default_factory=list)
    degrees: list[int] = field(default_factory=list)
    reductions: list[int] = field(default_factory=list)
    scene_scale: float = 0.0

    def update_every(self, step: int) -> int:
        return self.update_every_steps

    def steps_together(self, step: int) -> int:
        return self.together

    def sh_degree(self, step: int, scheduled: int) -> int:
        self.degrees.append(scheduled)
        return scheduled

    def initialize_state(self, scene_scale: float = 1.0) -> dict[str, Any]:
        self.scene_scale = scene_scale
        return {}

    def step_post_backward(self, params: Any, optimizers: Any, state: Any, step: int, info: Any,
                           packed: bool = False) -> None:  # fmt: skip
        self.reductions.append(info["reduction"])
        self.values.append({name: value.detach().clone() for name, value in params.items()})


def build(
    scene: Miniature, config: TrainConfig, strategy: Strategy, masks: Sequence[Any] = ()
) -> Trainer:
    """A trainer whose Gaussians are of all shapes, opacities and colours, so that every
    parameter has a gradient."""
    trainer = build_trainer(
        config,
        StrategyAdapter("watching", strategy),
        points=scene.points,
        colors=scene.colors,
        views=scene.views,
        photos=scene.photos,
        scene_scale=scene.scene_scale,
        near_plane=scene.near_plane,
        device=torch.device("cpu"),
        masks=masks,
    )
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, size in {"scales": 0.3, "quats": 0.5, "opacities": 1.0, "shN": 0.1}.items():
            value = trainer.splats[name]
            value += size * torch.randn(value.shape, generator=random)
    return trainer


def bare_views(scene: Miniature, masks: Sequence[np.ndarray | None]) -> list[bare_loop.View]:
    masks = masks or [None] * len(scene.views)
    return [
        bare_loop.View(
            torch.from_numpy(view.cam_from_world).double(),
            torch.from_numpy(view.K).double(),
            torch.from_numpy(photo).double() / 255,
            torch.ones(*photo.shape[:2], 1, dtype=torch.bool)
            if mask is None
            else torch.from_numpy(mask)[..., None],
        )
        for view, photo, mask in zip(scene.views, scene.photos, masks, strict=True)
    ]


def half(view: bare_loop.View) -> bare_loop.View:
    """Blocks of 2x2 pixels as one, which has a part where all four have."""
    height, width = (side // 2 for side in view.photo.shape[:2])
    blocks = view.photo.reshape(height, 2, width, 2, 3).mean(dim=(1, 3))
    valid = view.valid.reshape(height, 2, width, 2, 1).all(dim=3).all(dim=1)
    return bare_loop.View(view.viewmat, view.K / torch.tensor([[2.0], [2], [1]]), blocks, valid)


@dataclass
class Runs:
    """The trainer's run and the bare loop's on the same views."""

    start: dict[str, Tensor]
    rows: list[MetricsRow]
    gradients: list[dict[str, Tensor]]
    """Those that a parameter held after each call of the rasteriser."""
    strategy: Watching
    bare: list[bare_loop.Step]


def both(
    scene: Miniature,
    config: TrainConfig,
    masks: Masks | None = None,
    *,
    update_every: int = 1,
    together: int = 1,
    **recipe: Any,
) -> Runs:
    strategy = Watching(update_every, together)
    trainer = build(scene, config, strategy, masks or ())
    start = {name: value.detach().clone() for name, value in trainer.splats.items()}
    held: dict[str, list[Tensor]] = {name: [] for name in start}
    for name, value in trainer.splats.items():
        value.register_post_accumulate_grad_hook(
            lambda p, into=held[name]: into.append(p.grad.clone())
        )
    sampler, rows = copy.deepcopy(trainer.sampler), []
    with tqdm(disable=True) as bar:
        trainer.run(config.steps, rows.append, bar)
    numbers = Recipe(
        steps=config.steps,
        radius=1.1 * scene.scene_scale,
        near_plane=scene.near_plane,
        batch_size=config.batch_size,
        update_every=update_every,
        **recipe,
    )
    views = bare_views(scene, masks or ())
    batches = [sampler.take()[0] for _ in range(config.steps)]
    if set(strategy.reductions) == {1, 2}:
        halved = [1 + i for i, size in enumerate(strategy.reductions) if size == 2][-1]
        batches[:halved] = [[i + len(views) for i in batch] for batch in batches[:halved]]
        views += [half(view) for view in views]
    bare = list(bare_loop.train(start, views, batches, numbers))
    calls = len(held["means"])
    gradients = [
        # shN has none in the first calls, at degree 0.
        {name: grads[i - calls] for name, grads in held.items() if calls - i <= len(grads)}
        for i in range(calls)
    ]
    return Runs(start, rows, gradients, strategy, bare)


def assert_close(
    found: dict[str, Tensor], expected: dict[str, Tensor], what: str, rtol: float = 2e-3
) -> None:
    """Of each parameter the difference is small against the expectation, as a whole."""
    assert found.keys() == expected.keys(), what
    for name, wanted in expected.items():
        error = (found[name].double() - wanted).norm()
        assert error <= rtol * wanted.norm(), f"{what}, {name}: {error / wanted.norm():.1e} off"


def assert_same_loss(row: MetricsRow, bare: bare_loop.Step) -> None:
    assert row.terms["l1"] == pytest.approx(bare.l1, abs=3e-6), row.step
    assert row.loss == pytest.approx(bare.loss, abs=3e-6), row.step
    if row.terms["ssim_loss"] is not None:
        assert row.terms["ssim_loss"] == pytest.approx(bare.ssim_loss, abs=1e-5), row.step


def moved(values: dict[str, Tensor], start: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: values[name].double() - start[name].double() for name in start}


def masks_of(scene: Miniature) -> Masks:
    """A tenth, all or two thirds of the pixels have a part."""
    masks: Masks = [np.zeros(photo.shape[:2], bool) for photo in scene.photos]
    for i, mask in enumerate(masks):
        assert mask is not None
        mask[:, : (5, 48, 32)[i % 3]] = True
    masks[1] = None
    return masks


RISING = 2
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "defaults": ({}, {}),
    "regularised": (
        {"loss": LossOptions(opacity_reg=0.02, scale_reg=0.03)},
        {"opacity_reg": 0.02, "scale_reg": 0.03},
    ),
    "three views a step": ({"batch_size": 3}, {}),
    "decayed weights": ({"lr": LearningRates(weight_decay=0.05)}, {"weight_decay": 0.05}),
    "other rates": (
        {
            "lr": LearningRates(
                means=1e-3, means_final=0.1, scales=1e-2, quats=2e-3, opacities=1e-2, sh0=1e-3
            )
        },
        {
            "means": 1e-3,
            "means_final": 0.1,
            "rates": {
                "scales": 1e-2,
                "quats": 2e-3,
                "opacities": 1e-2,
                "sh0": 1e-3,
                "shN": 1.25e-4,
            },
        },
    ),
    "other rates that fall late": (
        {"lr": LearningRates(others_final=0.01)},
        {"others_final": 0.01},
    ),
    "L1 alone": ({"loss": LossOptions(ssim=0.0)}, {"ssim": 0.0}),
    "antialiased on random colours": (
        {"render": RenderOptions(antialiased=True, background="random", sh_degree_every=RISING)},
        {"antialiased": True, "background_seed": 42},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_trainer_does_what_the_bare_loop_does(scene: Miniature, case: str) -> None:
    """Losses, gradients and parameters, step by step, while the SH degree rises to 3."""
    options, recipe = CASES[case]
    options = {"render": RenderOptions(sh_degree_every=RISING), **options}
    config = TrainConfig(scene="tiny", steps=8, log_every=1, **options)
    runs = both(scene, config, sh_degree_every=RISING, **recipe)
    assert runs.strategy.degrees[-1] == 3
    assert [row.step for row in runs.rows] == list(range(1, 9))
    for step, bare in enumerate(runs.bare):
        assert_same_loss(runs.rows[step], bare)
        assert_close(runs.gradients[step], bare.gradients, f"gradients of step {step}")
        found = moved(runs.strategy.values[step], runs.start)
        assert_close(found, moved(bare.values, runs.start), f"movement by step {step}")


@pytest.mark.parametrize("batch_size", [1, 3])
def test_masked_photos_have_a_loss_of_their_own_pixels(scene: Miniature, batch_size: int) -> None:
    """Each view's loss is the mean over its own pixels, and a step's the mean over its views."""
    config = TrainConfig(scene="tiny", steps=6, log_every=1, batch_size=batch_size)
    runs = both(scene, config, masks_of(scene))
    for step, bare in enumerate(runs.bare):
        assert_same_loss(runs.rows[step], bare)
        assert_close(runs.gradients[step], bare.gradients, f"gradients of step {step}")
    found = moved(runs.strategy.values[-1], runs.start)
    assert_close(found, moved(runs.bare[-1].values, runs.start), "movement")


@pytest.mark.parametrize("masked", [False, True])
def test_the_first_steps_see_photos_of_half_the_size(
    scene: Miniature, masked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the loss of the blocks that have a part: masks end within blocks."""
    # The miniature has 48x32 pixels.
    monkeypatch.setattr("gs_densify.training.resolution.SMALLEST_SIDE", 12)
    render = RenderOptions(coarse_until=0.9)
    config = TrainConfig(scene="tiny", steps=8, log_every=1, render=render)
    runs = both(scene, config, masks_of(scene) if masked else None)
    assert 2 <= runs.strategy.reductions.count(2) <= 7
    assert runs.strategy.reductions == sorted(runs.strategy.reductions, reverse=True)
    for step, bare in enumerate(runs.bare):
        assert_same_loss(runs.rows[step], bare)
        assert_close(runs.gradients[step], bare.gradients, f"gradients of step {step}")


@pytest.mark.parametrize("together", [1, 3, 4])
@pytest.mark.parametrize(
    ("batch_size", "masked", "rising"),
    [(1, False, 1000), (1, True, 1000), (3, False, 1000), (1, False, 2)],
)  # the last batch of an epoch of 7 views is of one
def test_summed_steps_are_a_sum_however_many_are_rendered_at_once(
    scene: Miniature, together: int, batch_size: int, masked: bool, rising: int
) -> None:
    """Gradients of 4 steps are summed, regularisers with them, and move the model once; so do
    those of the last 2 steps."""
    config = TrainConfig(
        scene="tiny",
        steps=10,
        log_every=10,
        batch_size=batch_size,
        loss=LossOptions(opacity_reg=0.5, scale_reg=0.5),
        render=RenderOptions(sh_degree_every=rising),
    )
    runs = both(
        scene,
        config,
        masks_of(scene) if masked else None,
        update_every=4,
        together=together,
        opacity_reg=0.5,
        scale_reg=0.5,
        sh_degree_every=rising,
    )
    if rising > 4:
        assert len(runs.gradients) == {1: 10, 3: 5, 4: 3}[together]
    updates = [
        i
        for i, (before, after) in enumerate(pairwise([runs.start, *runs.strategy.values]))
        if not torch.equal(before["means"], after["means"])
    ]
    assert len(updates) == 3
    for call, step in zip(updates, (3, 7, 9), strict=True):
        bare = runs.bare[step]
        assert_close(runs.gradients[call], bare.gradients, f"gradients until step {step}")
        found = moved(runs.strategy.values[call], runs.start)
        assert_close(found, moved(bare.values, runs.start), f"movement by step {step}")
    last = runs.bare[-1:] if together == 1 else runs.bare[-2:]  # steps of the last call
    mean = sum(step.loss for step in last) / len(last)
    assert [row.loss for row in runs.rows] == [pytest.approx(mean, abs=3e-6)]


def test_training_begins_with_a_ball_at_each_point(scene: Miniature) -> None:
    trainer = make_trainer(
        TrainConfig(scene="tiny", steps=1), scene, StrategyAdapter("watching", Watching())
    )
    points, colors = torch.from_numpy(scene.points), torch.from_numpy(scene.colors)
    expected = bare_loop.first_values(points.double(), colors.double())
    assert trainer.splats.keys() == expected.keys()
    for name, value in trainer.splats.items():
        torch.testing.assert_close(value.detach().double(), expected[name], atol=1e-5, rtol=1e-5)


def logged_at(trainer: Trainer, steps: Sequence[int]) -> list[MetricsRow]:
    """Lines of figures of single steps of a run, without those between them."""
    rows: list[MetricsRow] = []
    for step in steps:
        trainer.load_state_dict({**trainer.state_dict(), "step": step})
        with tqdm(disable=True) as bar:
            trainer.run(step + 1, rows.append, bar)
    return rows


def unit_scene(scene: Miniature) -> Miniature:
    return Miniature(**{**vars(scene), "scene_scale": 1.0})


def test_the_rate_of_the_means_falls_from_its_first_to_a_hundredth(scene: Miniature) -> None:
    """In a scene of radius 1, which 3DGS widens to 1.1."""
    config = TrainConfig(scene="tiny", steps=30_000, log_every=1)
    trainer = build(unit_scene(scene), config, Watching())
    rows = logged_at(trainer, [0, 1, 15_000, 29_999])
    golden = [1.76e-4, 1.7597298489e-4, 1.76e-5, 1.7602701926e-6]
    assert [row.means_lr for row in rows] == pytest.approx(golden, rel=1e-8)


@pytest.mark.parametrize(("batch_size", "first"), [(1, 2.4083585e-4), (4, 4.8167171e-4)])
def test_the_rate_of_the_means_grows_with_the_scene(
    scene: Miniature, batch_size: int, first: float
) -> None:
    config = TrainConfig(scene="tiny", steps=100, log_every=1, batch_size=batch_size)
    strategy = Watching()
    trainer = build(scene, config, strategy)  # of radius 1.36838
    assert trainer.optimizers["means"].param_groups[0]["lr"] == pytest.approx(first, rel=1e-4)
    assert strategy.scene_scale == pytest.approx(1.1 * scene.scene_scale)
    rows = logged_at(trainer, [0, 50])
    assert [row.means_lr for row in rows] == pytest.approx([first, first / 10], rel=1e-4)


@pytest.mark.parametrize(
    ("every", "factor", "degrees"),
    [
        (1000, 1.0, {0: 0, 999: 0, 1000: 1, 1999: 1, 2000: 2, 2999: 2, 3000: 3, 29_999: 3}),
        (1000, 0.3, {0: 0, 299: 0, 300: 1, 600: 2, 899: 2, 900: 3, 29_999: 3}),
        (500, 1.0, {499: 0, 500: 1, 1000: 2, 1499: 2, 1500: 3}),
        (10, 0.01, {0: 0, 1: 1, 2: 2, 3: 3}),
    ],
)
def test_the_sh_degree_rises_by_one_at_chosen_steps(
    scene: Miniature, every: int, factor: float, degrees: dict[int, int]
) -> None:
    render = RenderOptions(sh_degree_every=every)
    config = TrainConfig(scene="tiny", steps=30_000, schedule_factor=factor, render=render)
    for step, degree in degrees.items():
        strategy = Watching()
        logged_at(build(scene, config, strategy), [step])
        assert strategy.degrees == [degree], step


def test_the_sh_degree_stays_within_the_model(scene: Miniature) -> None:
    strategy = Watching()
    config = TrainConfig(scene="tiny", steps=30_000, init=InitOptions(sh_degree=1))
    logged_at(make_trainer(config, scene, StrategyAdapter("watching", strategy)), [0, 1000, 29_999])
    assert strategy.degrees == [0, 1, 1]


@pytest.mark.parametrize(
    ("batch_size", "betas", "eps", "growth"),
    [(1, (0.9, 0.999), 1e-15, 1.0), (4, (0.6, 0.996), 5e-16, 2.0)],
)
def test_adam_is_set_for_the_views_of_a_step(
    scene: Miniature, batch_size: int, betas: tuple[float, float], eps: float, growth: float
) -> None:
    config = TrainConfig(scene="tiny", steps=10, batch_size=batch_size)
    trainer = build(unit_scene(scene), config, Watching())
    rates = {
        **{"means": 1.76e-4, "scales": 5e-3, "quats": 1e-3},
        **{"opacities": 5e-2, "sh0": 2.5e-3, "shN": 1.25e-4},
    }
    assert trainer.optimizers.keys() == rates.keys()
    for name, optimizer in trainer.optimizers.items():
        (group,) = optimizer.param_groups
        assert group["betas"] == pytest.approx(betas)
        assert group["eps"] == pytest.approx(eps, rel=1e-9, abs=0)
        assert group["lr"] == pytest.approx(growth * rates[name])
        assert group["weight_decay"] == 0


class Doubling(Strategy):
    """Makes opacities all different, and copies the most opaque Gaussians."""

    def step_post_backward(self, params: Any, optimizers: Any, state: Any, step: int, info: Any,
                           packed: bool = False) -> None:  # fmt: skip
        count = ops.count(params)
        random = torch.Generator().manual_seed(3)
        with torch.no_grad():
            params["opacities"].copy_(
                torch.linspace(-4, 4, count)[torch.randperm(count, generator=random)]
            )
        self.opacities = params["opacities"].detach().clone()
        ops.duplicate(params, optimizers, state, params["opacities"].detach() > 2)


def test_the_cap_keeps_the_most_opaque(scene: Miniature) -> None:
    count = len(scene.points)
    strategy = Doubling()
    config = TrainConfig(scene="tiny", steps=1, max_gaussians=count)
    host = StrategyAdapter("doubling", strategy, max_gaussians=count)
    trainer = make_trainer(config, scene, host)
    with tqdm(disable=True) as bar:
        trainer.run(1, lambda row: None, bar)
    before = strategy.opacities
    every = torch.cat([before, before[before > 2]]).sort(descending=True).values
    found = trainer.splats["opacities"].detach().sort(descending=True).values
    assert len(every) > count
    assert torch.equal(found, every[:count])
