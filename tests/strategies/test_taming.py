"""Taming-3DGS: its count schedule, its score and its draws, and a schedule of refinements."""

from itertools import pairwise

import pytest
import torch
from probe_example import HEIGHT, WIDTH, make_probe, random_info
from splats_example import trained

from gs_densify.errors import ConfigError, StrategyError
from gs_densify.strategies import scores, taming
from gs_densify.strategies.taming import TamingStrategy

COUNT = 60
SHORT = {
    "refine_start_iter": 4,
    "refine_stop_iter": 50,
    "refine_every": 4,
    "reset_every": 1000,
    "score_views": 2,
    "max_gaussians": 150,
    "prune_opa": 1e-6,
}


class _Run:
    """A model on which the strategy is called step by step with random gradients."""

    def __init__(self, **options) -> None:
        self.strategy = TamingStrategy(**{**SHORT, **options})
        self.params, self.optimizers, _ = trained(COUNT)
        self.state = self.strategy.initialize_state(scene_scale=3.0)
        self.probe = make_probe(self.params)
        self.strategy.check_sanity(self.params, self.optimizers)

    def __len__(self) -> int:
        return len(self.params["means"])

    @property
    def opacities(self) -> torch.Tensor:
        return self.params["opacities"].detach().sigmoid()

    def steps(self, *steps: int, scale: float = 1e-3) -> None:
        for step in steps:
            info = {**random_info(len(self), step, scale=scale), "probe": self.probe}
            arguments = (self.params, self.optimizers, self.state, step, info)
            self.strategy.step_pre_backward(*arguments)
            self.strategy.step_post_backward(*arguments)


def test_the_count_is_a_parabola_that_ends_flat_at_the_budget() -> None:
    counts = [taming.parabola(x, 20, 1000, 9000) for x in range(21)]
    assert (counts[0], counts[20]) == (1000, 9000)
    assert counts[10] == 1000 + 8000 * 3 // 4
    gaps = [b - a for a, b in pairwise(counts)]
    assert gaps == sorted(gaps, reverse=True) and gaps[-1] == 20
    assert taming.parabola(20, 20, 1000, 400) == 400


def test_the_published_refinements_end_at_the_budget() -> None:
    strategy = TamingStrategy(max_gaussians=5000)
    state = {"start_count": 1000}
    targets = [strategy._target(step, state, 5000) for step in range(1000, 15_000, 500)]
    assert targets[-1] == 5000 and targets == sorted(targets)
    assert targets[0] == taming.parabola(1, 28, 1000, 5000)


def test_births_are_shared_in_proportion_to_the_candidates() -> None:
    assert taming.share_of_clones(100, 30, 70) == 30
    assert taming.share_of_clones(10, 0, 5) == 0
    assert taming.share_of_clones(10, 0, 0) == 0
    importance = torch.rand(1000) + 0.1
    is_candidate, is_small = torch.rand(1000) < 0.8, torch.rand(1000) < 0.25
    is_clone, is_split = taming.chosen_to_grow(is_candidate, is_small, importance, 100)
    assert int(is_clone.sum()) + int(is_split.sum()) == 100
    assert not (is_clone & ~(is_candidate & is_small)).any()
    assert not (is_split & ~(is_candidate & ~is_small)).any()
    expected = 100 * float((is_candidate & is_small).sum() / is_candidate.sum())
    assert abs(int(is_clone.sum()) - expected) <= 0.5


def test_few_candidates_are_all_taken_and_unscored_ones_never() -> None:
    importance = torch.tensor([0.0, 1.0, 2.0, 0.0, 5.0])
    is_small = torch.tensor([True, True, False, False, False])
    is_clone, is_split = taming.chosen_to_grow(
        torch.ones(5, dtype=torch.bool), is_small, importance, 50
    )
    assert is_clone.tolist() == [False, True, False, False, False]
    assert is_split.tolist() == [False, False, True, False, True]


def test_half_of_the_weak_are_pruned_the_unimportant_first() -> None:
    is_weak = torch.arange(100) < 41
    importance = torch.where(torch.arange(100) < 10, 0.0, 1e3)
    is_dead = taming.chosen_to_prune(is_weak, importance, 0.5)
    assert int(is_dead.sum()) == 20
    assert not (is_dead & ~is_weak).any()
    assert is_dead[:10].all()
    assert not taming.chosen_to_prune(is_weak, importance, 0.0).any()
    assert torch.equal(taming.chosen_to_prune(is_weak, importance, 1.0), is_weak)


def test_a_score_weighs_medians_of_what_the_view_draws() -> None:
    terms = {
        "blend": torch.tensor([2.0, 0.0, 4.0, 8.0]),
        "opacity": torch.tensor([0.1, 0.9, 0.3, 0.2]),
    }
    weights = {"blend": 50.0, "opacity": 100.0}
    expected = torch.tensor([25.0 + 50.0, 0.0, 50.0 + 150.0, 100.0 + 100.0])
    torch.testing.assert_close(taming.weighted_sum(terms, weights), expected)


def test_the_terms_of_a_view_are_what_they_are_called() -> None:
    run = _Run()
    seen = run.probe(1, maps=run.strategy._maps)
    terms = taming.view_terms(seen.info, seen.attributed)
    # The blending weights of a pixel sum up to its alpha.
    assert terms["blend"].sum() == pytest.approx(float(seen.alpha.sum()), rel=1e-4)
    maps = run.strategy._maps(seen.image, seen.render)
    assert maps.shape == (1, HEIGHT, WIDTH, 2)
    total = (maps[..., 0] * seen.alpha[..., 0]).sum()
    assert terms["loss"].sum() == pytest.approx(float(total), rel=1e-4)
    error = scores.min_max_normalized((seen.image - seen.render).square().mean(-1))
    edges = scores.min_max_normalized(scores.find_edges_map(seen.image))
    torch.testing.assert_close(maps[..., 0], 50 * edges + 50 * error)
    assert (terms["count"] > 0)[terms["blend"] > 0].all()
    assert terms.keys() <= run.strategy._weights.keys()


def test_importance_sums_views_by_their_loss() -> None:
    run = _Run(score_views=4)
    gradient = torch.rand(COUNT)
    importance = run.strategy._importance(run.params, gradient, {"probe": run.probe})
    expected = torch.zeros(COUNT)
    for view in range(4):
        seen = run.probe(view, maps=run.strategy._maps)
        terms = taming.view_terms(seen.info, seen.attributed)
        terms["gradient"], terms["opacity"] = gradient, run.opacities
        terms["scale"] = run.params["scales"].detach().exp().amax(-1)
        assert terms.keys() == run.strategy._weights.keys()
        loss = scores.error_map(seen.render, seen.image, 0.2).mean()
        expected += loss * taming.weighted_sum(terms, run.strategy._weights)
    torch.testing.assert_close(importance, expected)
    assert (importance > 0).any() and torch.isfinite(importance).all()


def test_the_count_follows_the_schedule() -> None:
    run = _Run()
    for step in range(50):
        before = len(run)
        run.steps(step)
        if step > 4 and step % 4 == 0:
            target = run.strategy._target(step, run.state, 150)
            assert before < len(run) <= target
        else:
            assert len(run) == before
    # Gaussians that no camera draws have no score, so that not every wish can be granted.
    assert 120 < len(run) <= 150
    run.steps(50, 52, 56)
    assert "importance" not in run.state


def test_the_budget_is_a_multiple_of_the_start_unless_it_is_given() -> None:
    for options, most in (({"max_gaussians": 0, "budget_factor": 1.5}, 90), ({}, 150)):
        run = _Run(**options)
        run.steps(0, *range(8, 50, 8))
        assert COUNT < len(run) <= most


def test_nothing_is_born_below_the_threshold_or_below_the_count() -> None:
    calm = _Run(grow_grad2d=1e9)
    calm.steps(*range(20))
    assert len(calm) == COUNT
    full = _Run(max_gaussians=40)
    expected = full.opacities.sort().values[-40:]
    full.steps(*range(12))
    torch.testing.assert_close(full.opacities.sort().values, expected)


def test_weak_gaussians_are_halved_and_large_ones_only_after_a_reset() -> None:
    run = _Run(grow_grad2d=1e9, prune_opa=0.01)
    run.params["opacities"].data.fill_(0.0)
    run.params["opacities"].data[:20] = -6.0
    run.params["scales"].data.fill_(-5.0)
    run.params["scales"].data[20:40] = 2.0
    run.steps(*range(8))
    assert len(run) == COUNT
    run.steps(8)
    assert len(run) == COUNT - 10
    run.strategy.reset_every = 11
    run.steps(11)
    assert run.opacities.max() == pytest.approx(0.01)
    run.strategy.prune_opa = 1e-6
    run.steps(12)
    assert len(run) == COUNT - 20


def test_without_a_probe_the_reason_is_given() -> None:
    run = _Run()
    with pytest.raises(StrategyError, match="probe"):
        run.strategy.step_post_backward(
            run.params, run.optimizers, run.state, 8, random_info(COUNT, 8)
        )


def test_a_shorter_schedule_leaves_opacities_time_to_recover() -> None:
    half = TamingStrategy().scaled(0.5)
    assert (half.refine_start_iter, half.refine_stop_iter) == (250, 7500)
    assert (half.refine_every, half.reset_every) == (250, 1500)
    tiny = TamingStrategy().scaled(1 / 30)
    assert (tiny.refine_every, tiny.reset_every) == (20, 600)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("max_gaussians", -1),
        ("budget_factor", 0.0),
        ("refine_every", 0),
        ("prune_share", 2.0),
        ("reset_opa", 0.0),
    ],
)
def test_impossible_options_are_refused(option: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{option} is {value}"):
        TamingStrategy(**{option: value})
