"""AbsGS: which gradient clones and which splits, and its schedule of opacities."""

from types import SimpleNamespace

import pytest
import torch
from splats_example import snapshot, trained

from gs_densify.config.layers import strategy_defaults
from gs_densify.errors import ConfigError
from gs_densify.model.init import to_parameters
from gs_densify.rendering.rasterizers import make_rasterizer
from gs_densify.rendering.renderer import Renderer
from gs_densify.strategies.methods.absgs import AbsGSStrategy, clones_and_splits

COUNT = 8


def _info(signed: torch.Tensor, absolute: torch.Tensor, radii: torch.Tensor | None = None) -> dict:
    """A view of 200x100 pixels with given gradients [N] along x, in half-image units."""
    gradients = [torch.stack([g / 100, torch.zeros_like(g)], -1)[None] for g in (signed, absolute)]
    means2d = SimpleNamespace(grad=gradients[0], absgrad=gradients[1], retain_grad=lambda: None)
    radii = torch.ones(1, len(signed), 2, dtype=torch.int32) if radii is None else radii
    return {"means2d": means2d, "radii": radii, "width": 200, "height": 100, "n_cameras": 1}


def _model(count: int = COUNT):
    """Gaussians of opacity 0.5 and equal scales, the first half small, the second large."""
    params, optimizers, _ = trained(count)
    with torch.no_grad():
        params["opacities"].zero_()
        params["scales"].fill_(-8.0)
        params["scales"][count // 2 :] = -2.0
    return params, optimizers


def _step(strategy, params, optimizers, state, step: int, info: dict, packed: bool = False) -> None:
    strategy.step_pre_backward(params, optimizers, state, step, info)
    strategy.step_post_backward(params, optimizers, state, step, info, packed=packed)


def test_small_ones_clone_by_the_signed_and_large_ones_split_by_the_absolute_gradient() -> None:
    gradients = torch.tensor([2e-4, 1.9e-4, 0.0, 9e-4, 2e-4, 0.0])
    absolute = torch.tensor([0.0, 9e-4, 9e-4, 0.0, 3.9e-4, 4e-4])
    largest = torch.tensor([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])
    options = {"clone_above": 2e-4, "split_above": 4e-4, "size": 1.0}
    is_clone, is_split = clones_and_splits(gradients, absolute, largest, **options)
    assert is_clone.tolist() == [True, False, False, False, False, False]
    assert is_split.tolist() == [False, False, False, False, False, True]


def test_a_refinement_uses_the_mean_of_both_norms_over_the_views_that_saw_a_gaussian() -> None:
    strategy = AbsGSStrategy(refine_start_iter=0, refine_every=2)
    params, optimizers = _model()
    before = params["means"].detach().clone()
    state = strategy.initialize_state(scene_scale=1.0)
    # The first is seen once, above the threshold; the second twice, below it in the mean. So are
    # the fifth and the sixth, in absolute gradient.
    radii = torch.ones(1, COUNT, 2, dtype=torch.int32)
    radii[0, [0, 4]] = 0
    signed, absolute = torch.zeros(COUNT), torch.zeros(COUNT)
    signed[[0, 1]], absolute[[4, 5]] = 3e-4, 6e-4
    zeros = torch.zeros(COUNT)
    _step(strategy, params, optimizers, state, 1, _info(zeros, zeros, radii))
    assert len(params["means"]) == COUNT
    _step(strategy, params, optimizers, state, 2, _info(signed, absolute))
    # Others and the clone keep their order; the split one went to the end, in two.
    expected = torch.cat([before[[0, 1, 2, 3, 5, 6, 7]], before[[0]]])
    assert len(params["means"]) == COUNT + 2
    assert torch.equal(params["means"].detach()[:8], expected)
    children = params["scales"].detach()[8:].exp()
    torch.testing.assert_close(children, torch.full((2, 3), -2.0).exp() / 1.6)
    assert all((state[name] == 0).all() for name in ("grad2d", "absgrad2d", "count"))


def test_packed_and_unpacked_statistics_agree() -> None:
    strategy = AbsGSStrategy()
    states = []
    rows = torch.tensor([1, 4, 6])
    signed, absolute = torch.rand(3), torch.rand(3)
    for packed in (False, True):
        params, optimizers = _model()
        state = strategy.initialize_state()
        info = _info(signed, absolute)
        if packed:
            for name in ("grad", "absgrad"):
                setattr(info["means2d"], name, getattr(info["means2d"], name)[0])
            info |= {"radii": info["radii"][0], "gaussian_ids": rows}
        else:
            all_rows = torch.zeros(2, COUNT).index_copy_(1, rows, torch.stack([signed, absolute]))
            radii = torch.zeros(1, COUNT, 2, dtype=torch.int32).index_fill_(1, rows, 3)
            info = _info(all_rows[0], all_rows[1], radii)
        _step(strategy, params, optimizers, state, 1, info, packed=packed)
        states.append(snapshot(params, optimizers, state))
    for name in ("state grad2d", "state absgrad2d", "state count"):
        torch.testing.assert_close(states[0][name], states[1][name])
    torch.testing.assert_close(states[0]["state grad2d"][rows], signed)
    torch.testing.assert_close(states[0]["state absgrad2d"][rows], absolute)


def test_a_large_gaussian_over_stripes_splits_though_its_signed_gradient_cancels() -> None:
    """The example of the paper, rendered: fine stripes under one wide Gaussian."""
    params = to_parameters(
        {
            "means": torch.tensor([[0.0, 0.0, 4.0]]),
            "scales": torch.full((1, 3), 0.0),
            "quats": torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
            "opacities": torch.zeros(1),
            "sh0": torch.zeros(1, 1, 3),
            "shN": torch.zeros(1, 0, 3),
        },
        torch.device("cpu"),
    )
    camera = torch.tensor([[[40.0, 0.0, 32.0], [0.0, 40.0, 32.0], [0.0, 0.0, 1.0]]])
    strategy = AbsGSStrategy(refine_start_iter=0, refine_every=1)
    output = Renderer(make_rasterizer("reference"))(
        params,
        torch.eye(4)[None],
        camera,
        *(64, 64),
        sh_degree=0,
        absgrad=strategy.absgrad,
    )
    stripes = ((torch.arange(64) // 2) % 2).float()[None, None, :, None].expand_as(output.image)
    state = strategy.initialize_state(scene_scale=1.0)
    strategy.step_pre_backward(params, {}, state, 1, output.info)
    ((output.image - stripes) ** 2).mean().backward()
    AbsGSStrategy(refine_start_iter=9).step_post_backward(params, {}, state, 1, output.info)
    assert state["absgrad2d"].item() > 20 * state["grad2d"].item() > 0
    strategy.grow_grad2d = strategy.split_absgrad2d = 5 * state["grad2d"].item()
    state = strategy.initialize_state(scene_scale=1.0)
    strategy.step_post_backward(params, {}, state, 1, output.info)
    assert len(params["means"]) == 2


@pytest.mark.parametrize(
    ("step", "highest"), [(0, 0.95), (499, 0.95), (500, 0.8), (3000, 0.01), (15_000, 0.95)]
)
def test_opacities_are_reduced_and_reset_at_their_steps(step: int, highest: float) -> None:
    strategy = AbsGSStrategy(refine_start_iter=20_000)
    params, optimizers = _model()
    params["opacities"].data.fill_(torch.logit(torch.tensor(0.95)))
    state = strategy.initialize_state()
    zeros = torch.zeros(COUNT)
    _step(strategy, params, optimizers, state, step, _info(zeros, zeros))
    torch.testing.assert_close(params["opacities"].sigmoid(), torch.full((COUNT,), highest))
    moment = optimizers["opacities"].state[params["opacities"]]["exp_avg"]
    assert (moment == 0).all().item() == (highest != 0.95)


@pytest.mark.parametrize(("step", "left"), [(3000, 7), (3100, 6)])
def test_faint_ones_are_pruned_always_and_huge_ones_after_the_first_reset(step, left) -> None:
    strategy = AbsGSStrategy()
    params, optimizers = _model()
    with torch.no_grad():
        params["opacities"][0] = torch.logit(torch.tensor(0.0049))
        params["scales"][-1] = torch.tensor(0.21).log()
    state = strategy.initialize_state(scene_scale=2.0)
    zeros = torch.zeros(COUNT)
    _step(strategy, params, optimizers, state, step, _info(zeros, zeros))
    assert len(params["means"]) == left


def test_a_scaled_schedule_keeps_the_proportions() -> None:
    half = AbsGSStrategy().scaled(0.5)
    assert (half.refine_start_iter, half.refine_stop_iter) == (250, 7500)
    assert (half.refine_every, half.reduce_every, half.reset_every) == (50, 250, 1500)
    short = AbsGSStrategy().scaled(1 / 30)
    assert short.reset_every / short.refine_every == 30
    assert short.reduce_every / short.refine_every == 5
    assert AbsGSStrategy(reduce_every=0).scaled(0.5).reduce_every == 0


def test_the_tiny_scene_brings_thresholds_for_its_image_size() -> None:
    strategy = strategy_defaults("tiny", AbsGSStrategy)
    assert strategy.split_absgrad2d == 10 * AbsGSStrategy.split_absgrad2d
    assert strategy.grow_grad2d == 10 * AbsGSStrategy.grow_grad2d


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"refine_every": 0}, "refine_every is 0; at least 1"),
        ({"reset_every": 0}, "reset_every is 0; at least 1"),
        ({"reduce_every": -1}, "reduce_every is -1; at least 0"),
        ({"reduce_opa": 1.0}, "reduce_opa is 1.0; a number between 0 and 1"),
    ],
)
def test_options_out_of_range_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AbsGSStrategy(**options)
