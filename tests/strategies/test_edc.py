"""Improved-GS: its curves and choices, and what it does at which step."""

import pytest
import torch
from probe_example import make_probe, random_info
from splats_example import trained

from gs_densify.errors import ConfigError, StrategyError
from gs_densify.strategies.methods import edc
from gs_densify.strategies.methods.edc import EDCStrategy

COUNT = 60
SHORT = {
    "early_prune_iter": 3,
    "refine_start_iter": 4,
    "growth_stop_iter": 36,
    "refine_stop_iter": 50,
    "refine_every": 4,
    "reset_every": 12,
    "recovery_delay": 2,
    "all_views_delay": 4,
    "recovery_stop_iter": 34,
    "score_views": 2,
    "max_gaussians": 150,
    "prune_opa": 1e-6,
    "early_prune_opa": 1e-6,
}


class _Run:
    """A model on which the strategy is called step by step with random gradients."""

    def __init__(self, **options) -> None:
        self.strategy = EDCStrategy(**{**SHORT, **options})
        self.params, self.optimizers, _ = trained(COUNT)
        self.state = self.strategy.initialize_state(scene_scale=3.0)
        self.probe = make_probe(self.params)
        self.strategy.check_sanity(self.params, self.optimizers)

    def __len__(self) -> int:
        return len(self.params["means"])

    @property
    def opacities(self) -> torch.Tensor:
        return self.params["opacities"].detach().sigmoid()

    def step(self, step: int, *, scale: float = 1e-3) -> None:
        info = {**random_info(len(self), step, scale=scale), "probe": self.probe}
        arguments = (self.params, self.optimizers, self.state, step, info)
        self.strategy.step_pre_backward(*arguments)
        self.strategy.step_post_backward(*arguments)

    def steps(self, *steps: int, **options) -> None:
        for step in steps:
            self.step(step, **options)


def test_growth_is_a_root_curve_from_zero_to_the_budget() -> None:
    counts = [edc.growth_target(t, 500, 14_500, 1_000_000) for t in (0, 500, 4000, 8375, 14_500)]
    assert counts == [0, 0, 500_000, 750_000, 1_000_000]
    assert edc.growth_target(14_900, 500, 14_500, 7) == 7
    assert edc.growth_target(600, 500, 14_500, 1_000_000) == 84_515  # of 84,515.4
    assert edc.growth_target(600, 500, 14_500, 10) == 0
    assert edc.growth_target(10, 10, 10, 7) == 0 and edc.growth_target(11, 10, 10, 7) == 7


def test_edges_are_scaled_to_the_unit_interval_in_each_view() -> None:
    maps = edc.edge_maps(0.3 * torch.rand(1, 12, 15, 3), torch.zeros(1, 12, 15, 3))
    assert maps.shape == (1, 12, 15, 1)
    assert maps.min() == 0 and maps.max() == 1


def test_only_candidates_are_drawn_by_their_score() -> None:
    gradient = torch.tensor([1.0, 3.0, 3.0, 4.0, 5.0])
    score = torch.tensor([9.0, 1.0, 3.0, 0.0, 4.0])
    drawn = torch.zeros(5)
    for _ in range(400):
        mask = edc.chosen_to_split(gradient, score, 3.0, 1)
        assert int(mask.sum()) == 1
        drawn += mask
    torch.testing.assert_close(drawn / 400, torch.tensor([0, 1, 3, 0, 4]) / 8, atol=0.1, rtol=0)
    assert edc.chosen_to_split(gradient, score, 3.0, 99).tolist() == [0, 1, 1, 0, 1]


def test_gradients_are_summed_over_more_and_more_steps() -> None:
    strategy = EDCStrategy()
    steps = (0, 14_999, 15_000, 22_499, 22_500, 29_999)
    assert [strategy.update_every(step) for step in steps] == [1, 1, 5, 5, 20, 20]
    short = strategy.scaled(0.1)
    assert [short.update_every(step) for step in (1499, 1500, 2250)] == [1, 5, 20]


def test_children_fill_their_parents_extent() -> None:
    strategy = EDCStrategy()
    assert strategy.split_offset + 3 * strategy.split_long == pytest.approx(3.0)
    assert strategy.split_others == pytest.approx((1 - 0.45**2) ** 0.5, abs=1e-3)


def test_the_count_follows_the_curve_when_nothing_is_pruned() -> None:
    run = _Run(reset_every=1000)
    for step in range(49):
        run.step(step)
        target = edc.growth_target(step, 4, 36, 150)
        if step > 4 and step % 4 == 0:
            assert len(run) <= max(COUNT, target)
    # Gaussians that no camera draws have no score, so that not every wish can be granted.
    assert 100 < len(run) <= 150
    run.step(49)
    before = len(run)
    run.steps(50, 52, 56)
    assert len(run) == before


def test_a_split_keeps_the_others_and_replaces_the_chosen() -> None:
    run = _Run(reset_every=1000)
    run.steps(*range(16))
    before = run.params["means"].detach().clone()
    count = len(run)
    run.step(16)
    after = run.params["means"].detach()
    born = len(run) - count
    assert born > 0
    kept = (after[:, None] == before[None]).all(-1).any(1)
    assert int(kept.sum()) == count - born
    assert not kept[-2 * born :].any()
    middle = (after[-2 * born : -born] + after[-born:]) / 2
    assert (middle[:, None] - before).norm(dim=-1).amin(1).max() < 1e-5


def _added_with_gradient(step: int, gradient: float) -> tuple[int, list[int]]:
    """Births at a refinement where the threshold is 1, and the views that were scored."""
    run = _Run(reset_every=1000, grow_grad2d=1.0)
    run.step(5)
    run.state["grad2d"].fill_(gradient)
    run.state["count"].fill_(1.0)
    run.probe.views.clear()
    # One more observation, of gradients that are 0: half of the mean for those that are seen.
    run.step(step, scale=0.0)
    return len(run) - COUNT, run.probe.views


def test_only_gradients_above_the_threshold_split() -> None:
    assert _added_with_gradient(36, 0.99)[0] == 0
    added, views = _added_with_gradient(36, 2.0)
    assert added > 0 and len(views) == 2


def test_the_last_refinements_score_by_gradient_with_a_lower_threshold() -> None:
    added, views = _added_with_gradient(40, 0.7)
    assert added > 0 and not views
    assert _added_with_gradient(40, 0.66)[0] == 0


def test_resets_lower_opacities_to_the_published_value() -> None:
    run = _Run(max_gaussians=COUNT)
    run.steps(*range(12))
    assert run.opacities.max() > 0.5
    run.step(12)
    assert run.opacities.max() == pytest.approx(0.05)
    assert len(run) == COUNT


def test_gradients_are_gathered_from_the_start_of_refinement_on() -> None:
    run = _Run(reset_every=1000, grow_grad2d=1.0)
    run.steps(*range(5), scale=1e6)
    assert "grad2d" not in run.state
    run.steps(5, 6, 7, 8, scale=0.0)
    assert len(run) == COUNT and run.state["count"].max() == 4
    strategy = EDCStrategy()
    steps = (0, 500, 501, 14_999, 15_000)
    assert [strategy.needs_absgrad(step) for step in steps] == [False, False, True, True, False]
    assert not EDCStrategy(absgrad=False).needs_absgrad(501)


def test_gradients_add_up_until_the_curve_allows_growth() -> None:
    # 150 sqrt((t - 4) / 32) passes the 60 Gaussians between steps 8 and 12.
    run = _Run(reset_every=1000)
    run.steps(*range(9))
    assert len(run) == COUNT and run.state["count"].max() == 4
    run.steps(9, 10, 11)
    assert run.state["count"].max() == 7
    run.step(12)
    assert len(run) > COUNT and run.state["count"].max() == run.state["grad2d"].max() == 0
    # Without a candidate nothing grows, and nothing is forgotten.
    run.strategy.grow_grad2d = 1e9
    run.steps(13, 14, 15, 16)
    assert run.state["count"].max() == 4


@pytest.mark.parametrize(("stop", "last"), [(50, 48), (48, 44)])
def test_the_last_refinement_prunes_nothing(stop: int, last: int) -> None:
    run = _Run(grow_grad2d=1e9, reset_every=1000, refine_stop_iter=stop)
    run.steps(*range(last - 7))
    run.params["opacities"].data[:5] = -20.0
    run.steps(last - 7, last - 6, last - 5)
    assert len(run) == COUNT
    run.step(last - 4)
    assert len(run) == COUNT - 5
    run.params["opacities"].data[:5] = -20.0
    run.steps(*range(last - 3, stop))
    assert len(run) == COUNT - 5
    # Published: prunings at 14,800 and before, refinements up to 14,900.
    published = EDCStrategy()
    assert 14_800 + published.refine_every < published.refine_stop_iter
    assert 14_900 + published.refine_every >= published.refine_stop_iter


def _recover_unevenly(run: _Run) -> None:
    """As after some training since a reset: opacities that all differ."""
    run.params["opacities"].data += torch.randn(len(run))


def test_those_that_did_not_recover_are_dropped_after_the_first_two_resets() -> None:
    run = _Run(grow_grad2d=1e9)
    lost = {}
    for step in range(50):
        if step in (14, 26, 38):
            _recover_unevenly(run)
        before = run.opacities.sort().values
        run.step(step)
        if len(run) < len(before):
            lost[step] = len(before) - len(run)
            # Those that stay are the most opaque; order among them does not matter here.
            torch.testing.assert_close(run.opacities.sort().values, before[lost[step] :])
            assert run.state["count"].max() == 0
    assert lost == {14: 12, 26: 10}


def test_what_is_dropped_after_a_reset_is_dropped_after_that_steps_growth() -> None:
    run = _Run(recovery_delay=4, all_views_delay=8, max_gaussians=200)
    run.steps(*range(16))
    _recover_unevenly(run)
    run.probe.views.clear()
    run.step(16)  # a refinement too: it grows to the curve, and then a fifth goes
    grown = edc.growth_target(16, 4, 36, 200)
    assert len(run.probe.views) == 2
    assert len(run) == pytest.approx(0.8 * grown, abs=4)
    run.probe.views.clear()
    run.steps(17, 18, 19, 20)
    assert sorted(run.probe.views) == [0, 1, 2, 3]
    assert len(run) > grown


def test_below_a_quantile_is_strictly_below_torchs() -> None:
    for count in (1, 2, 7, 48, 60, 61):
        values = torch.rand(count)
        expected = values < torch.quantile(values, 0.2)
        assert torch.equal(edc.below_quantile(values, 0.2), expected)
    equal = torch.tensor([0.05, 0.05, 0.01, 0.05, 0.9])
    assert edc.below_quantile(equal, 0.4).tolist() == [False, False, True, False, False]


def test_views_are_scored_in_one_order_over_and_over() -> None:
    run = _Run(reset_every=1000, max_gaussians=1000)
    run.steps(*range(21))
    views = run.probe.views
    assert len(views) == 8 and sorted(views[:4]) == [0, 1, 2, 3]
    assert views[4:] == views[:4]


def test_all_views_are_scored_after_those_resets_and_a_few_otherwise() -> None:
    run = _Run()
    for step in range(36):
        run.probe.views.clear()
        run.step(step)
        is_refinement = step > 4 and step % 4 == 0
        wants_growth = edc.growth_target(step, 4, 36, 150) > 100
        expected = 4 if step in (16, 28) else 2
        if is_refinement and wants_growth:
            assert len(run.probe.views) == len(set(run.probe.views)) == expected, step
        elif not is_refinement:
            assert not run.probe.views


def test_weak_gaussians_go_early_and_at_refinements() -> None:
    run = _Run(early_prune_opa=0.02, prune_opa=0.3, grow_grad2d=1e9)
    run.params["opacities"].data[:7] = -6.0
    early, weak = (int((run.opacities < least).sum()) for least in (0.02, 0.3))
    run.steps(0, 1, 2, 3)
    assert 7 <= early < weak and len(run) == COUNT - early
    run.steps(*range(4, 9))
    assert len(run) == COUNT - weak


def test_a_model_above_the_budget_loses_the_least_opaque() -> None:
    run = _Run(max_gaussians=40)
    expected = run.opacities.sort().values[-40:]
    run.steps(*range(9))
    torch.testing.assert_close(run.opacities.sort().values, expected)
    run.steps(*range(9, 12))
    assert len(run) == 40


def test_edge_scores_are_means_of_views_over_their_positive_mean() -> None:
    run = _Run(score_views=4)
    info = {"probe": run.probe, "radii": torch.zeros(1, COUNT, 2)}
    score = run.strategy._edge_score(run.state, 8, info, COUNT)
    expected = torch.zeros(COUNT)
    for view in range(4):
        seen = run.probe(view, maps=edc.edge_maps).attributed[:, 0]
        expected += seen / seen[seen > 0].mean() / 4
    torch.testing.assert_close(score, expected)
    assert (score > 0).any()


def test_without_a_probe_the_reason_is_given() -> None:
    run = _Run(max_gaussians=1000)
    info = random_info(COUNT, 8)
    with pytest.raises(StrategyError, match="probe"):
        run.strategy.step_post_backward(run.params, run.optimizers, run.state, 8, info)


def test_a_shorter_schedule_keeps_its_proportions() -> None:
    half = EDCStrategy().scaled(0.5)
    assert (half.refine_start_iter, half.growth_stop_iter, half.refine_stop_iter) == (
        *(250, 7250),
        7500,
    )
    assert (half.refine_every, half.reset_every, half.early_prune_iter) == (50, 1500, 150)
    assert (half.recovery_delay, half.all_views_delay, half.recovery_stop_iter) == (150, 200, 4500)
    tiny = EDCStrategy().scaled(1 / 30)
    assert (tiny.refine_every, tiny.reset_every, tiny.recovery_delay) == (20, 600, 60)
    assert tiny.all_views_delay % tiny.refine_every == 0


@pytest.mark.parametrize(
    ("option", "value"),
    [("max_gaussians", 0), ("refine_every", 0), ("reset_opa", 1.0), ("recovery_share", 1.5)],
)
def test_impossible_options_are_refused(option: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{option} is {value}"):
        EDCStrategy(**{option: value})
