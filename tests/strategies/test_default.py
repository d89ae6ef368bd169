"""The original densification: decision by decision as gsplat's, and the reset that it lacks."""

from types import SimpleNamespace

import gsplat.strategy
import pytest
import torch
from splats_example import snapshot, trained

from gs_densify.errors import ConfigError
from gs_densify.strategies.methods.default import DefaultStrategy
from gs_densify.strategies.schedule import scaled_steps

COUNT = 60


def _info(count: int, step: int, cameras: int = 2) -> dict:
    """What a rasteriser would return: the same random gradients for everyone."""
    generator = torch.Generator().manual_seed(step)
    gradient = 2e-6 * torch.randn(cameras, count, 2, generator=generator)
    radii = torch.randint(0, 40, (cameras, count, 2), generator=generator, dtype=torch.int32)
    radii[torch.rand(cameras, count, generator=generator) < 0.3] = 0
    # A rasteriser gives culled Gaussians no gradient.
    gradient *= (radii > 0).all(-1, keepdim=True)
    means2d = SimpleNamespace(grad=gradient, absgrad=gradient.abs() * 1.5, retain_grad=lambda: None)
    sizes = {"width": 96, "height": 64, "n_cameras": cameras}
    return {"means2d": means2d, "radii": radii, "gaussian_ids": None, **sizes}


def _run(strategy, steps: range, cameras: int = 2) -> list[dict[str, torch.Tensor]]:
    params, optimizers, _ = trained(COUNT)
    state = strategy.initialize_state(scene_scale=3.0)
    strategy.check_sanity(params, optimizers)
    left = []
    for step in steps:
        info = _info(len(params["means"]), step, cameras)
        torch.manual_seed(step)  # split draws its children
        strategy.step_pre_backward(params, optimizers, state, step, info)
        strategy.step_post_backward(params, optimizers, state, step, info, packed=False)
        left.append(snapshot(params, optimizers, state))
    return left


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"absgrad": True, "grow_grad2d": 3e-4},
        {"revised_opacity": True},
        {"refine_scale2d_stop_iter": 12, "grow_scale2d": 0.35, "prune_scale2d": 0.4},
        {"reset_every": 8, "pause_refine_after_reset": 3},
    ],
    ids=["plain", "absgrad", "revised opacity", "screen radii", "pauses"],
)
def test_every_step_decides_as_gsplats_until_the_first_reset(options: dict) -> None:
    common = {"refine_start_iter": 2, "refine_every": 4, "refine_stop_iter": 20}
    options = {"reset_every": 1000, **common, **options}
    steps = range(20) if options["reset_every"] == 1000 else range(8)
    # With several views gsplat keeps any of a Gaussian's radii where the largest is meant.
    cameras = 1 if "grow_scale2d" in options else 2
    ours = _run(DefaultStrategy(**options), steps, cameras)
    theirs = _run(gsplat.strategy.DefaultStrategy(**options), steps, cameras)
    grown = {len(left["param means"]) for left in ours}
    assert len(grown) > 1, "the comparison needs steps that change the model"
    for step, (left, expected) in enumerate(zip(ours, theirs, strict=True)):
        assert left.keys() == expected.keys()
        for name in expected:
            torch.testing.assert_close(left[name], expected[name], msg=f"step {step}: {name}")


def test_opacities_are_really_reset_where_gsplats_are_not() -> None:
    options = {"refine_start_iter": 100, "refine_stop_iter": 200, "reset_every": 6}
    ours = _run(DefaultStrategy(**options), range(7))
    theirs = _run(gsplat.strategy.DefaultStrategy(**options), range(7))
    assert ours[5]["param opacities"].sigmoid().max() > 0.5
    assert ours[6]["param opacities"].sigmoid().max() == pytest.approx(0.01)
    assert ours[6]["exp_avg of opacities"].abs().max() == 0
    assert theirs[6]["param opacities"].sigmoid().max() > 0.5


def test_nothing_happens_from_the_stop_step_on() -> None:
    options = {"refine_start_iter": 2, "refine_every": 4, "refine_stop_iter": 9, "reset_every": 10}
    left = _run(DefaultStrategy(**options), range(30))
    assert len({len(after["param means"]) for after in left[8:]}) == 1
    assert all(torch.equal(left[8]["state grad2d"], after["state grad2d"]) for after in left[8:])


def test_packed_statistics_equal_unpacked_ones() -> None:
    params, optimizers, _ = trained(COUNT)
    strategy = DefaultStrategy(refine_scale2d_stop_iter=10)
    unpacked, packed = strategy.initialize_state(), strategy.initialize_state()
    info = _info(COUNT, 1)
    visible = (info["radii"] > 0).all(-1)
    flat = SimpleNamespace(grad=info["means2d"].grad[visible])
    ids = torch.where(visible)[1]
    packed_info = {**info, "means2d": flat, "radii": info["radii"][visible], "gaussian_ids": ids}
    strategy.step_post_backward(params, optimizers, unpacked, 1, info)
    strategy.step_post_backward(params, optimizers, packed, 1, packed_info, packed=True)
    for name in ("grad2d", "count", "radii"):
        torch.testing.assert_close(packed[name], unpacked[name])


def test_a_shorter_schedule_keeps_the_refinements_between_resets() -> None:
    half = scaled_steps(DefaultStrategy(), 0.5)
    assert (half.refine_start_iter, half.refine_stop_iter) == (250, 7500)
    assert (half.refine_every, half.reset_every) == (50, 1500)
    tiny = scaled_steps(DefaultStrategy(), 1 / 30)
    assert (tiny.refine_every, tiny.reset_every) == (20, 600)
    assert scaled_steps(gsplat.strategy.DefaultStrategy(), 0.5).refine_stop_iter == 7500


def test_impossible_steps_are_refused() -> None:
    with pytest.raises(ConfigError, match="refine_every is 0"):
        DefaultStrategy(refine_every=0)
