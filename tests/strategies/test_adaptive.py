"""Our method: its decisions alone, the failures that it must never have, and its switches."""

import dataclasses

import pytest
import torch
from splats_example import snapshot, trained

from gs_densify.errors import ConfigError, StrategyError
from gs_densify.model.gaussians import Gaussians
from gs_densify.strategies import ops
from gs_densify.strategies.methods.adaptive import (
    AdaptiveStrategy,
    above_percentile,
    blended,
    decay_opacities,
    error_weights,
    target_count,
    upper_quarter,
)

COUNT = 80


class _Means2d:
    def __init__(self, gradient: torch.Tensor) -> None:
        self.grad = self.absgrad = gradient

    def retain_grad(self) -> None:
        pass


def _info(count: int, step: int, *, attributed: bool = True, reduction: int = 1) -> dict:
    generator = torch.Generator().manual_seed(step)
    radii = torch.ones(1, count, 2, dtype=torch.int32)
    radii[0, ::7] = 0
    gradient = 1e-4 * torch.rand(1, count, 2, generator=generator) * (radii > 0)
    info = {"means2d": _Means2d(gradient), "radii": radii, "gaussian_ids": None}
    info |= {"width": 96, "height": 64, "n_cameras": 1, "reduction": reduction}
    if attributed:
        info["attributed"] = torch.rand(count, 2, generator=generator)
    return info


def _run(strategy: AdaptiveStrategy, steps: int, **options):
    params, optimizers, _ = trained(COUNT)
    state = strategy.initialize_state(scene_scale=5.0)
    counts = []
    for step in range(steps):
        info = _info(len(params["means"]), step, **options)
        torch.manual_seed(step)
        strategy.step_pre_backward(params, optimizers, state, step, info)
        strategy.step_post_backward(params, optimizers, state, step, info)
        counts.append(len(params["means"]))
        rows = {len(v) for k, v in snapshot(params, optimizers, state).items() if k[:4] != "step"}
        assert rows == {counts[-1]}, f"step {step}: rows {rows}"
    return params, counts


def _short(**options) -> AdaptiveStrategy:
    schedule = {
        "refine_start_iter": 10,
        "refine_stop_iter": 110,
        "refine_every": 10,
        "reset_every": 30,
        "recovery": 5,
    }
    return AdaptiveStrategy(**{**schedule, "max_gaussians": 300, **options})


def test_the_budget_is_reached_on_the_root_curve_and_never_passed() -> None:
    _, counts = _run(_short(soft_reset=False, prune_opa=0.0), 110)
    assert max(counts) <= 300
    assert counts[-1] >= 280
    assert target_count(100, 500, 0.25) == 300
    assert (target_count(100, 500, -1), target_count(100, 500, 2)) == (100, 500)
    assert target_count(100, 500, 0.25, reduction=2) == round(100 + 200 / 2**1.75)


def test_fewer_are_born_while_photos_are_reduced() -> None:
    full, half, quarter = (_run(_short(), 40, reduction=k)[1][-1] for k in (1, 2, 4))
    assert quarter < half < full


@pytest.mark.parametrize(
    "switched_off",
    [
        {"split_percentile": 0.0},
        {"large_scale3d": 0.005, "clone_percentile": 0.0, "split_percentile": 0.0},
        {"consistency": 0.0},
        {"max_blend": 0.0},
        {"large_scale3d": 1.0},
        {"soft_reset": False},
        {"separate": 0.0},
        {"use_error": False},
        {"max_gaussians": 0, "auto_gradient": 5e-3},
    ],
    ids=lambda options: "+".join(options),
)
def test_every_part_can_be_switched_off_and_changes_the_result(switched_off: dict) -> None:
    everything, _ = _run(_short(), 60)
    without, counts = _run(_short(**switched_off), 60)
    assert counts[-1] > COUNT / 2
    same = len(everything["means"]) == len(without["means"]) and torch.equal(
        everything["opacities"], without["opacities"]
    )
    assert not same, "the switch has no effect"


def test_edges_of_the_photo_raise_the_error_unless_they_are_switched_off() -> None:
    generator = torch.Generator().manual_seed(0)
    photo = torch.full((1, 24, 32, 3), 0.25)
    photo[:, :, 16:] = 0.75
    info = {"image": photo, "render": photo + 0.1 * torch.rand(photo.shape, generator=generator)}
    edgy, plain = (_short(edge_weight=w).attributed_maps(20, info)[0, ..., 0] for w in (2.0, 0.0))
    is_edge = torch.zeros_like(plain, dtype=torch.bool)
    is_edge[:, 15:17] = True
    raised = edgy / plain
    torch.testing.assert_close(raised[:, 2:14], torch.ones(24, 12))
    # Sobel is the same all along the edge: its mean is the share of the pixels that lie on it.
    share = is_edge.float().mean()
    torch.testing.assert_close(raised[2:-2, 15:17], torch.full((20, 2), float(1 + 2.0 / share)))


def test_gradient_only_mode_needs_no_attribution_and_the_other_says_so() -> None:
    _, counts = _run(_short(use_error=False), 60, attributed=False)
    assert counts[-1] > COUNT
    assert _short(use_error=False).num_attributed_maps(0) == 0
    with pytest.raises(StrategyError, match="use_error=False"):
        _run(_short(), 1, attributed=False)


def test_the_split_mask_covers_the_clones_that_came_before_it() -> None:
    """A mask made before the clones and used after them has the wrong length."""
    strategy = _short(growth_limit=1.0, large_scale3d=0.01, clone_percentile=0, split_percentile=0)
    params, optimizers, _ = trained(COUNT)
    state = {"scene_scale": 5.0, "quality": torch.rand(COUNT)}
    is_parent = torch.ones(COUNT, dtype=torch.bool)
    is_large = params["scales"].amax(-1).exp() > 0.05
    assert 0 < is_large.sum() < COUNT
    strategy._grow(Gaussians(params, optimizers, state), 20, is_parent)
    assert len(params["means"]) == len(state["quality"]) == 2 * COUNT


def test_a_stale_mask_cannot_decay_opacities() -> None:
    params, optimizers, state = trained(COUNT)
    stale = torch.ones(COUNT, dtype=torch.bool)
    ops.duplicate(params, optimizers, state, stale)
    with pytest.raises(StrategyError, match=f"{COUNT} entries was given for {2 * COUNT}"):
        decay_opacities(Gaussians(params, optimizers, {}), stale, 0.5)


def test_percentiles_of_more_values_than_torch_quantile_takes() -> None:
    """torch.quantile refuses more than 2^24 values, which a growing model reaches."""
    values = torch.arange(2**24 + 8, dtype=torch.float32)
    everyone = torch.ones(len(values), dtype=torch.bool)
    is_above = above_percentile(values, everyone, 0.75)
    assert is_above.sum() == pytest.approx(len(values) / 4, rel=1e-4)


def test_percentiles_count_members_only_and_ignore_the_scale_of_the_values() -> None:
    values, is_member = torch.rand(1000), torch.rand(1000) < 0.5
    chosen = above_percentile(values, is_member, 0.8)
    assert not (chosen & ~is_member).any()
    assert chosen.sum() == pytest.approx(0.2 * int(is_member.sum()), abs=2)
    assert torch.equal(chosen, above_percentile(17 * values, is_member, 0.8))
    assert not above_percentile(values, torch.zeros(1000, dtype=torch.bool), 0.8).any()


def test_blend_is_the_mean_at_0_and_the_largest_at_1() -> None:
    total, largest, seen = torch.tensor([6.0]), torch.tensor([5.0]), torch.tensor([3.0])
    assert [blended(total, largest, seen, b).item() for b in (0.0, 0.5, 1.0)] == [2.0, 3.5, 5.0]


def test_a_quarter_of_a_views_gradients_is_in_its_upper_quarter() -> None:
    values = torch.rand(2, 40_000)
    values[1] *= 50
    is_seen = torch.rand(2, 40_000) < 0.5
    share = ((values > upper_quarter(values, is_seen)) & is_seen).sum(1) / is_seen.sum(1)
    torch.testing.assert_close(share, torch.full((2,), 0.25), atol=0.03, rtol=0)


def test_error_maps_have_mean_one_and_rise_at_edges() -> None:
    image = torch.rand(2, 24, 30, 3)
    render = (image + 0.1 * torch.randn_like(image)).clamp(0, 1)
    plain = error_weights(render, image, 0.0)
    torch.testing.assert_close(plain.mean(dim=(1, 2)), torch.ones(2))
    assert (error_weights(render, image, 0.25) >= plain).all()


def test_a_soft_reset_decays_the_weak_and_protects_the_promising() -> None:
    params, optimizers, _ = trained(COUNT)
    quality = torch.rand(COUNT)
    state = {"quality": quality}
    before = params["opacities"].detach().sigmoid().clone()
    _short(protect=0.25)._reset(Gaussians(params, optimizers, state), 30)
    after = params["opacities"].detach().sigmoid()
    is_protected = quality > quality.sort().values[round(0.75 * COUNT) - 1]
    torch.testing.assert_close(after[is_protected], before[is_protected])
    torch.testing.assert_close(after[~is_protected], 0.5 * before[~is_protected])
    moments = optimizers["opacities"].state[params["opacities"]]["exp_avg"]
    assert (moments[~is_protected] == 0).all()
    assert (moments[is_protected] != 0).all()


def test_updates_grow_rarer_after_growth() -> None:
    strategy = AdaptiveStrategy()
    assert [strategy.update_every(s) for s in (0, 14_999, 15_000, 22_500)] == [1, 1, 5, 20]
    short = strategy.scaled(1 / 3)
    assert [short.update_every(s) for s in (4_999, 5_000, 7_500)] == [1, 2, 8]
    off = dataclasses.replace(strategy, late_sum=0)
    assert off.update_every(29_000) == off.scaled(0.5).update_every(14_000) == 1


def test_impossible_options_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"decay is 1\.5"):
        AdaptiveStrategy(decay=1.5)
    with pytest.raises(ConfigError, match="max_gaussians is -1"):
        AdaptiveStrategy(max_gaussians=-1)


@pytest.mark.parametrize(("factor", "every"), [(2, 200), (1, 100), (0.5, 60), (0.2, 24)])
def test_a_shorter_schedule_refines_less_often_rather_than_closer(factor, every) -> None:
    scaled = AdaptiveStrategy().scaled(factor)
    assert scaled.refine_every == every
    assert scaled.refine_stop_iter == 15_000 * factor
    assert scaled.reset_every == 3000 * factor
    observed = [step for step in range(3 * every) if scaled.needs_absgrad(step)]
    assert len(observed) == 3 * min(scaled.observations, every)


def test_a_percentile_of_clones_without_clones_is_refused() -> None:
    with pytest.raises(ConfigError, match="no effect while large_scale3d is 0"):
        AdaptiveStrategy(clone_percentile=0.2)
    assert AdaptiveStrategy(clone_percentile=0.2, large_scale3d=0.005).clone_percentile == 0.2
