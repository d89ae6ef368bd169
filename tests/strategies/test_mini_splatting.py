"""Mini-Splatting: its decisions as formulas, and its steps on a scene that a probe renders."""

from types import SimpleNamespace

import pytest
import torch
from splats_example import random_splats, trained

from gs_densify.errors import ConfigError, StrategyError
from gs_densify.model.gaussians import Gaussians
from gs_densify.model.geometry import covariances
from gs_densify.model.init import neighbour_distances
from gs_densify.rendering.attribution.contributors import contributions
from gs_densify.rendering.attribution.rays import pixel_rays, ray_peaks
from gs_densify.rendering.rasterizers import make_rasterizer
from gs_densify.rendering.renderer import Renderer
from gs_densify.strategies import importance
from gs_densify.strategies.methods import mini_splatting
from gs_densify.strategies.methods.mini_splatting import MiniSplattingStrategy

WIDTH, HEIGHT, COUNT = 40, 30, 80
K = torch.tensor([[45.0, 0.0, 19.0], [0.0, 48.0, 16.0], [0.0, 0.0, 1.0]])


def _viewmat(index: int) -> torch.Tensor:
    angle = torch.tensor(0.5 * index + 0.2)
    c, s = angle.cos(), angle.sin()
    view = torch.eye(4)
    view[0, 0], view[0, 2], view[2, 0], view[2, 2] = c, s, -s, c
    view[:3, 3] = torch.tensor([0.1, -0.1, 5.0])
    return view


class _Probe:
    """Renders three views of the parameters as they are now."""

    def __init__(self, params) -> None:
        self.params = params
        self.images = torch.rand(3, 1, HEIGHT, WIDTH, 3)

    def __len__(self) -> int:
        return len(self.images)

    def __call__(self, index: int) -> SimpleNamespace:
        viewmat = _viewmat(index)
        frozen = {name: value.detach() for name, value in self.params.items()}
        output = Renderer(make_rasterizer("reference"))(
            frozen,
            viewmat[None],
            K[None],
            WIDTH,
            HEIGHT,
            sh_degree=0,
        )
        return SimpleNamespace(
            image=self.images[index], alpha=output.alpha, info=output.info, viewmat=viewmat, K=K
        )


def _model(count: int = COUNT):
    params, optimizers, state = trained(count)
    with torch.no_grad():
        params["scales"] += 1.0
    return params, optimizers, state, _Probe(params)


def _train_step(strategy, params, optimizers, state, probe, step: int, view: int = 0) -> None:
    """One real forward and backward pass, then the hook."""
    output = Renderer(make_rasterizer("reference"))(
        params,
        _viewmat(view)[None],
        K[None],
        WIDTH,
        HEIGHT,
        sh_degree=0,
    )
    info = {**output.info, "probe": probe}
    strategy.step_pre_backward(params, optimizers, state, step, info)
    (output.image - probe.images[view]).abs().mean().backward()
    for optimizer in optimizers.values():
        optimizer.zero_grad()
    strategy.step_post_backward(params, optimizers, state, step, info)


def _small(**options) -> MiniSplattingStrategy:
    steps = {
        "refine_start_iter": 1,
        "refine_every": 2,
        "refine_stop_iter": 12,
        "depth_every": 5,
        "sample_iter": 12,
        "prune_iter": 14,
    }
    # Nothing grows unless a test asks for it.
    return MiniSplattingStrategy(**{**steps, "grow_grad2d": 1e3, "blur_area": 1.0, **options})


def _with_gradients(gradient: float) -> int:
    """Gaussians after a refinement at which the threshold is 0.25."""
    params, optimizers, state, _ = _model()
    strategy = _small(grow_grad2d=0.25, prune_opa=1e-9)
    state = strategy.initialize_state(scene_scale=3.0)
    state["grad2d"] = torch.full((COUNT,), gradient)
    state["count"], state["area"] = torch.ones(COUNT), torch.zeros(COUNT)
    strategy._refine(Gaussians(params, optimizers, state), 2)
    return len(params["means"])


def test_gradients_from_the_threshold_on_grow() -> None:
    assert (_with_gradients(0.2499), _with_gradients(0.25)) == (COUNT, 2 * COUNT)


def _assert_faint(params) -> None:
    opacities = params["opacities"].detach().sigmoid()
    torch.testing.assert_close(opacities, torch.full_like(opacities, 0.1))


# Decisions


def test_rays_pass_through_the_pixels_they_belong_to() -> None:
    viewmat = _viewmat(2)
    pixels = torch.tensor([0, 39, 40, 7 * 40 + 13])
    origin, directions = pixel_rays(viewmat, K, pixels, WIDTH)
    torch.testing.assert_close(viewmat[:3, :3] @ origin + viewmat[:3, 3], torch.zeros(3))
    world = origin + 2.5 * directions
    camera = world @ viewmat[:3, :3].T + viewmat[:3, 3]
    torch.testing.assert_close(camera[:, 2], torch.full((4,), 2.5))
    projected = (camera @ K.T)[:, :2] / camera[:, 2:]
    expected = torch.tensor([[0.5, 0.5], [39.5, 0.5], [0.5, 1.5], [13.5, 7.5]])
    torch.testing.assert_close(projected, expected, atol=1e-4, rtol=1e-5)


def test_a_ray_peaks_where_the_density_is_highest_and_in_the_middle_of_the_chord() -> None:
    splats = {k: v.detach().double() for k, v in random_splats(20).items()}
    origin = torch.tensor([0.3, -0.2, -6.0], dtype=torch.float64)
    directions = torch.nn.functional.normalize(splats["means"] - origin, dim=-1)
    directions += 0.01 * torch.randn(20, 3, dtype=torch.float64)
    scales = splats["scales"].exp()
    t = ray_peaks(origin, directions, splats["means"], splats["quats"], scales)
    inverse = torch.linalg.inv(covariances(splats["quats"], scales))

    def distance(at: torch.Tensor) -> torch.Tensor:
        apart = origin + at[:, None] * directions - splats["means"]
        return torch.einsum("pi,pij,pj->p", apart, inverse, apart)

    for delta in (1e-3, 0.1):
        assert (distance(t) < distance(t + delta)).all()
        torch.testing.assert_close(distance(t - delta), distance(t + delta))


def test_a_ray_through_the_mean_peaks_there() -> None:
    splats = {k: v.detach() for k, v in random_splats(20).items()}
    origin = torch.tensor([0.0, 0.0, -4.0])
    t = ray_peaks(
        origin,
        splats["means"] - origin,
        splats["means"],
        splats["quats"],
        splats["scales"].exp(),
    )
    torch.testing.assert_close(t, torch.ones(20))


def test_additions_beyond_the_room_are_granted_by_urgency() -> None:
    is_clone = torch.tensor([True, True, False, False, True])
    is_split = torch.tensor([False, True, True, False, False])
    urgency = torch.tensor([1.0, 3.0, 9.0, 20.0, 2.0])
    all_clones, all_splits = mini_splatting.within_room(is_clone, is_split, urgency=urgency, room=5)
    assert torch.equal(all_clones, is_clone) and torch.equal(all_splits, is_split)
    for room in range(-1, 5):
        clones, splits = mini_splatting.within_room(is_clone, is_split, urgency=urgency, room=room)
        assert int(clones.sum() + splits.sum()) == max(0, room)
        assert not (clones & ~is_clone).any() and not (splits & ~is_split).any()
    clones, splits = mini_splatting.within_room(is_clone, is_split, urgency=urgency, room=3)
    assert clones.tolist() == [False, True, False, False, False]
    assert splits.tolist() == [False, True, True, False, False]


def test_most_important_keeps_the_fewest_that_hold_the_share() -> None:
    score = torch.tensor([0.0, 5.0, 1.0, 3.0, 1.0, 0.0])
    assert importance.most_important(score, 0.5).tolist() == [0, 1, 0, 0, 0, 0]
    assert importance.most_important(score, 0.51).tolist() == [0, 1, 0, 1, 0, 0]
    assert importance.most_important(score, 1.0).tolist() == [0, 1, 1, 1, 1, 0]
    random = torch.rand(1000).square()
    kept = importance.most_important(random, 0.99)
    assert random[kept].sum() >= 0.99 * random.sum()
    assert random[kept].sum() - random[kept].min() < 0.99 * random.sum()
    assert random[kept].min() >= random[~kept].max()


def test_view_importance_of_both_metrics() -> None:
    sums, pixels = torch.tensor([6.0, 2.0, 0.0]), torch.tensor([12, 8, 0])
    areas = torch.tensor([3.0, 0.0, 0.0])
    indoor = importance.view_importance(sums, pixels, areas, "indoor")
    assert indoor.tolist() == [6.0, 2.0, 0.0]
    outdoor = importance.view_importance(sums, pixels, areas, "outdoor")
    assert outdoor.tolist() == [0.5, 0.0, 0.0]


def test_importance_sums_the_views_and_drops_what_is_never_the_argmax() -> None:
    _, _, _, probe = _model()
    found = [contributions(probe(view).info, COUNT) for view in range(3)]
    dominant = torch.cat([one.ids.flatten() for one in found]).unique()
    expected = torch.stack([one.sums[0] for one in found]).sum(0)
    score = importance.importance(probe, COUNT, "indoor")
    is_dominant = torch.zeros(COUNT, dtype=torch.bool)
    is_dominant[dominant[dominant >= 0]] = True
    assert (expected[~is_dominant] > 0).any(), "the test needs some that never dominate"
    assert (score[~is_dominant] == 0).all()
    torch.testing.assert_close(score[is_dominant], expected[is_dominant])
    outdoor = importance.importance(probe, COUNT, "outdoor")
    assert torch.equal(outdoor > 0, score > 0)
    assert (outdoor <= 3 * (1 + 1e-6)).all()


def test_depth_points_project_into_their_pixels_with_the_photos_colour() -> None:
    params, _, _, probe = _model()
    view = probe(1)
    # Colours that name their pixel.
    view.image = torch.arange(WIDTH * HEIGHT).float().view(1, HEIGHT, WIDTH, 1).repeat(1, 1, 1, 3)
    points, colors = mini_splatting.depth_points(view, params, 200)
    assert 150 < len(points) <= 200
    pixel = colors[:, 0].long()
    assert len(pixel.unique()) == len(pixel)
    camera = points @ view.viewmat[:3, :3].T + view.viewmat[:3, 3]
    assert (camera[:, 2] > 0).all()
    projected = (camera @ K.T)[:, :2] / camera[:, 2:]
    expected = torch.stack([pixel % WIDTH + 0.5, pixel // WIDTH + 0.5], dim=-1)
    torch.testing.assert_close(projected, expected, atol=1e-3, rtol=0)
    assert (view.alpha.flatten()[pixel] > 0).all()
    # As deep as the pixel's top contributor is densest.
    rows = contributions(view.info, COUNT).ids.flatten()[pixel]
    origin, directions = pixel_rays(view.viewmat, K, pixel, WIDTH)
    peaks = ray_peaks(
        origin,
        directions,
        params["means"][rows],
        params["quats"][rows],
        params["scales"][rows].exp(),
    )
    torch.testing.assert_close(camera[:, 2], peaks.detach(), atol=1e-4, rtol=1e-5)


def test_pixels_are_drawn_in_proportion_to_alpha() -> None:
    params, _, _, probe = _model()
    view = probe(0)
    view.image = torch.arange(WIDTH * HEIGHT).float().view(1, HEIGHT, WIDTH, 1).repeat(1, 1, 1, 3)
    hits = torch.zeros(WIDTH * HEIGHT)
    for _ in range(150):
        _, colors = mini_splatting.depth_points(view, params, 40)
        hits[colors[:, 0].long()] += 1
    alpha = view.alpha.flatten()
    low, high = (alpha > 0) & (alpha < 0.4), alpha > 0.8
    share = hits[low].mean() / hits[high].mean()
    assert share == pytest.approx(float(alpha[low].mean() / alpha[high].mean()), rel=0.25)


# Schedule and options


def test_colours_and_learning_rate_start_again_at_the_sampling() -> None:
    strategy = MiniSplattingStrategy()
    assert [strategy.sh_degree(step, 3) for step in (0, 14_999, 15_000, 15_999)] == [0, 0, 0, 0]
    assert [strategy.sh_degree(step, 3) for step in (16_000, 17_500, 18_000, 29_999)] == [
        1,
        2,
        3,
        3,
    ]
    assert strategy.sh_degree(29_999, 1) == 1
    assert [strategy.lr_step(step) for step in (0, 15_000)] == [0, 15_000]
    assert [strategy.lr_step(step) for step in (15_001, 29_999)] == [5001, 19_999]


def test_a_shorter_schedule_scales_every_step() -> None:
    tiny = MiniSplattingStrategy().scaled(1 / 30)
    assert (tiny.refine_start_iter, tiny.refine_stop_iter, tiny.refine_every) == (17, 500, 20)
    assert (tiny.depth_every, tiny.sample_iter, tiny.prune_iter) == (167, 500, 667)
    assert (tiny.lr_restart_step, tiny.sh_degree_every) == (167, 33)
    assert tiny.prune_scale3d_start_iter == 100
    for factor in (0.0003, 0.001, 0.01, 0.0377, 0.5, 1.0, 2.0, 3.3):
        scaled = MiniSplattingStrategy().scaled(factor)
        steps = range(1, scaled.refine_stop_iter)
        assert len([step for step in steps if step % scaled.depth_every == 0]) <= 2
        assert scaled.prune_iter > scaled.sample_iter


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth_every": 0}, "depth_every is 0"),
        ({"sample_share": 1.5}, "sample_share is 1.5"),
        ({"importance_metric": "street"}, "'street'; use indoor or outdoor"),
        ({"prune_iter": 15_000}, "prune_iter must come last"),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MiniSplattingStrategy(**options)


# Steps


def test_the_area_is_the_largest_over_the_views() -> None:
    params, optimizers, _, probe = _model()
    state = {"scene_scale": 1.3}
    areas = []
    for view in range(3):
        ids = contributions(probe(view).info, COUNT).ids
        areas.append(torch.bincount(ids[ids >= 0], minlength=COUNT) / (WIDTH * HEIGHT))
        _train_step(_small(), params, optimizers, state, probe, 1, view)
    expected = torch.stack(areas).amax(0)
    assert (expected > areas[2]).any() and (expected > areas[0]).any()
    torch.testing.assert_close(state["area"], expected)


def test_blurry_gaussians_split_whatever_their_gradient() -> None:
    params, optimizers, state, probe = _model()
    state = {"scene_scale": 1.3}
    strategy = _small(blur_area=0.01)
    found = contributions(probe(0).info, COUNT)
    area = torch.bincount(found.ids[found.ids >= 0], minlength=COUNT) / (WIDTH * HEIGHT)
    is_blurry = area > 0.01
    assert 3 < int(is_blurry.sum()) < COUNT / 2
    is_weak = params["opacities"].detach().sigmoid() < strategy.prune_opa
    assert not (is_weak & is_blurry).any()
    expected = COUNT + int(is_blurry.sum()) - int(is_weak.sum())
    _train_step(strategy, params, optimizers, state, probe, 1)
    torch.testing.assert_close(state["area"], area)
    _train_step(strategy, params, optimizers, state, probe, 2)
    assert len(params["means"]) == expected
    assert all(state[name].abs().max() == 0 for name in ("grad2d", "count", "area"))


def test_growth_stops_at_the_cap() -> None:
    params, optimizers, _, probe = _model()
    state = {"scene_scale": 1.3}
    strategy = _small(grow_grad2d=1e-9, blur_area=1e-9, max_gaussians=COUNT + 7, prune_opa=0.0)
    for step in range(1, 5):
        _train_step(strategy, params, optimizers, state, probe, step)
        assert len(params["means"]) == COUNT + (7 if step >= 2 else 0)


def test_depth_reinitialisation_rebuilds_the_model_and_the_optimisers() -> None:
    params, optimizers, _, probe = _model()
    state = {"scene_scale": 1.3}
    strategy = _small(num_depth_points=240)
    _train_step(strategy, params, optimizers, state, probe, 4)
    assert len(params["means"]) <= COUNT
    _train_step(strategy, params, optimizers, state, probe, 5)
    assert 200 < len(params["means"]) <= 240
    strategy.check_sanity(params, optimizers)
    assert all(not optimizer.state for optimizer in optimizers.values())
    _assert_faint(params)
    expected = neighbour_distances(params["means"].detach().numpy(), floor=1.3e-6)
    torch.testing.assert_close(params["scales"].exp()[:, 2].detach(), torch.from_numpy(expected))
    assert params["shN"].abs().max() == 0 and params["shN"].shape[1:] == (15, 3)
    assert params["sh0"].shape[1:] == (1, 3)
    assert all(len(state[name]) == len(params["means"]) for name in ("grad2d", "count", "area"))


def test_sampling_keeps_half_of_those_that_matter_and_starts_them_anew() -> None:
    params, optimizers, _, probe = _model()
    state = {"scene_scale": 1.3}
    score = importance.importance(probe, COUNT, "indoor")
    means, sh0 = params["means"].detach().clone(), params["sh0"].detach().clone()
    _train_step(_small(), params, optimizers, state, probe, 12)
    assert len(params["means"]) == int((score > 0).sum()) // 2
    place = (means[None] == params["means"].detach()[:, None]).all(-1).long().argmax(1)
    assert len(place.unique()) == len(place) and (score[place] > 0).all()
    assert torch.equal(params["means"], means[place]) and torch.equal(params["sh0"], sh0[place])
    assert params["shN"].abs().max() == 0
    assert all(not optimizer.state for optimizer in optimizers.values())
    _assert_faint(params)


def test_pruning_keeps_the_others_as_they_are() -> None:
    params, optimizers, _, probe = _model()
    state = {"scene_scale": 1.3}
    kept = importance.most_important(importance.importance(probe, COUNT, "indoor"), 0.99)
    expected = {name: value.detach()[kept].clone() for name, value in params.items()}
    _train_step(_small(), params, optimizers, state, probe, 14)
    assert 0 < len(params["means"]) < COUNT
    for name, value in expected.items():
        assert torch.equal(params[name], value)
    assert all(not optimizer.state for optimizer in optimizers.values())


def test_a_trainer_without_a_probe_is_refused_in_words() -> None:
    params, optimizers, _, _ = _model()
    with pytest.raises(StrategyError, match="needs info\\['probe'\\]"):
        _small().step_post_backward(params, optimizers, {"scene_scale": 1.0}, 12, {})
