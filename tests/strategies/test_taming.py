"""Taming-3DGS: its count schedule, its score and its draws, and a schedule of refinements.

The score is held against one written down here from the paper's terms, in float64 and Gaussian by
Gaussian, which shares nothing with the implementation but the rasteriser's projected Gaussians.
"""

from itertools import pairwise

import pytest
import torch
from probe_example import HEIGHT, WIDTH, make_probe, random_info
from splats_example import trained

from gs_densify.errors import ConfigError, StrategyError
from gs_densify.model.gaussians import Gaussians
from gs_densify.strategies import scores
from gs_densify.strategies.methods import taming
from gs_densify.strategies.methods.taming import TamingStrategy

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
    def gaussians(self) -> Gaussians:
        return Gaussians(self.params, self.optimizers, self.state)

    @property
    def opacities(self) -> torch.Tensor:
        return self.params["opacities"].detach().sigmoid()

    def steps(self, *steps: int, scale: float = 1e-3) -> None:
        for step in steps:
            info = {**random_info(len(self), step, scale=scale), "probe": self.probe}
            arguments = (self.params, self.optimizers, self.state, step, info)
            self.strategy.step_pre_backward(*arguments)
            self.strategy.step_post_backward(*arguments)


def entered_pixels(info: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """Which pixels each Gaussian enters [N,H,W], and with what weight, composited one by one."""
    means2d, conics, opacities = (
        info[name][0].double() for name in ("means2d", "conics", "opacities")
    )
    y, x = torch.meshgrid(
        torch.arange(HEIGHT).double() + 0.5, torch.arange(WIDTH).double() + 0.5, indexing="ij"
    )
    rest, is_over = torch.ones(HEIGHT, WIDTH).double(), torch.zeros(HEIGHT, WIDTH).bool()
    weights = torch.zeros(len(means2d), HEIGHT, WIDTH).double()
    for k in info["depths"][0].argsort().tolist():
        if (info["radii"][0, k] == 0).any():
            continue
        dx, dy = means2d[k, 0] - x, means2d[k, 1] - y
        a, b, c = conics[k]
        alpha = opacities[k] * torch.exp(-0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy)
        alpha = alpha.clamp_max(0.999)
        is_drawn = (alpha >= 1 / 255) & ~is_over
        is_over |= is_drawn & (rest * (1 - alpha) <= 1e-4)
        weights[k] = torch.where(is_drawn & ~is_over, alpha * rest, 0.0)
        rest = rest - weights[k]
    return weights > 0, weights


def over_median(values: torch.Tensor) -> torch.Tensor:
    """Values over the lower median of those that are positive."""
    positive = values[values > 0].sort().values
    return torch.where(values > 0, values / positive[(len(positive) - 1) // 2], 0.0)


def scaled_to_one(values: torch.Tensor) -> torch.Tensor:
    return (values - values.min()) / (values.max() - values.min())


def edges_of(photo: torch.Tensor) -> torch.Tensor:
    """PIL's FIND_EDGES of a photo [1,H,W,3], the border going on with its last row or column."""
    grey = photo.double() @ torch.tensor([0.299, 0.587, 0.114]).double()
    kernel = torch.full((1, 1, 3, 3), -1.0).double()
    kernel[..., 1, 1] = 8.0
    padded = torch.nn.functional.pad(grey[:, None], (1, 1, 1, 1), mode="replicate")
    return torch.nn.functional.conv2d(padded, kernel)[:, 0].clamp(0, 1)


def reference_score(params, gradient: torch.Tensor, seen) -> torch.Tensor:
    """What one view adds to the score [N]."""
    image, render = seen.image.double(), seen.render.double()
    l1 = (image - render).abs().mean(-1)
    loss = 0.8 * l1.mean() + 0.2 * scores.dissimilarity_map(render, image).mean()
    pixel_map = (50 * scaled_to_one(edges_of(image)) + 50 * scaled_to_one(l1))[0]
    is_entered, weights = entered_pixels(seen.info)
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    pixels = torch.stack([x, y], dim=-1) + 0.5
    distances = (pixels - seen.info["means2d"][0, :, None, None]).double().norm(dim=-1)
    is_visible = (seen.info["radii"][0] > 0).all(-1)
    a, b, c = seen.info["conics"][0].double().unbind(-1)
    conics = torch.stack([torch.stack([a, b], -1), torch.stack([b, c], -1)], -1)
    conics[~is_visible] = torch.eye(2).double()
    short, long = torch.linalg.eigvalsh(torch.linalg.inv(conics)).unbind(-1)
    apart = ((long - short) / 2).clamp_min(0.1**0.5)
    radii = (3 * ((long + short) / 2 + apart).sqrt()).ceil()
    scales = params["scales"].detach().double().exp()
    terms = [
        (10, (is_entered * pixel_map).sum((1, 2))),
        (50, weights.sum((1, 2))),
        (0.1, is_entered.sum((1, 2)).double()),
        (50, (is_entered * distances).sum((1, 2))),
        (25, gradient.double()),
        (100, params["opacities"].detach().double().sigmoid()),
        (5, torch.where(is_visible, seen.info["depths"][0].double(), 0.0)),
        (10, torch.where(is_visible, radii, 0.0)),
        (25, scales[:, 0] * scales[:, 1] * scales[:, 2]),
    ]
    total = sum(weight * over_median(term) for weight, term in terms)
    return torch.where(is_visible, 50 * loss * total, 0.0)


def test_the_count_is_a_parabola_that_ends_flat_at_the_budget() -> None:
    counts = [taming.parabola(x, 20, 1000, 9000) for x in range(21)]
    assert (counts[0], counts[20]) == (1000, 9000)
    assert counts[10] == 1000 + 8000 * 3 // 4
    gaps = [b - a for a, b in pairwise(counts)]
    assert gaps == sorted(gaps, reverse=True) and gaps[-1] == 20
    assert taming.parabola(20, 20, 1000, 400) == 400


def test_the_published_refinements_end_one_before_the_budget() -> None:
    strategy = TamingStrategy(max_gaussians=5000)
    state = {"start_count": 1000}
    targets = [strategy._target(step, state, 5000) for step in range(1000, 15_000, 500)]
    # 28 refinements of a parabola that is flat at 29: 4000 / 29^2 are missing, rounded down.
    assert targets[0] == int(1000 + 4000 * (1 - (28 / 29) ** 2))
    assert targets[-1] == int(5000 - 4000 / 29**2) == 4995
    assert targets == sorted(targets)
    assert TamingStrategy(refine_every=100)._target(14_900, state, 5000) == 4999


def test_growth_is_shared_in_proportion_to_the_candidates() -> None:
    assert taming.shared_growth(50, 30, 70) == (15, 35)
    assert taming.shared_growth(5, 3, 4) == (2, 2)
    assert taming.shared_growth(99, 3, 4) == (3, 4)
    assert taming.shared_growth(10, 0, 5) == (0, 5)
    assert taming.shared_growth(10, 0, 0) == taming.shared_growth(-3, 4, 4) == (0, 0)
    importance = torch.rand(1000) + 0.1
    is_candidate, is_small = torch.rand(1000) < 0.8, torch.rand(1000) < 0.25
    is_clone, is_split = taming.chosen_to_grow(is_candidate, is_small, importance, 100)
    assert not (is_clone & ~(is_candidate & is_small)).any()
    assert not (is_split & ~(is_candidate & ~is_small)).any()
    share = 100 * float((is_candidate & is_small).sum() / is_candidate.sum())
    assert (int(is_clone.sum()), int(is_split.sum())) == (int(share), int(100 - share))


def test_few_candidates_are_all_taken_and_unscored_ones_never() -> None:
    importance = torch.tensor([0.0, 1.0, 2.0, 0.0, 5.0])
    is_small = torch.tensor([True, True, False, False, False])
    is_clone, is_split = taming.chosen_to_grow(
        torch.ones(5, dtype=torch.bool), is_small, importance, 50
    )
    assert is_clone.tolist() == [False, True, False, False, False]
    assert is_split.tolist() == [False, False, True, False, True]


def test_pruning_draws_from_all_and_takes_the_weak_among_the_drawn() -> None:
    is_weak = torch.arange(1000) % 10 == 0
    pruned = [int(taming.chosen_to_prune(is_weak, torch.ones(1000), 0.5).sum()) for _ in range(200)]
    # 50 are drawn of 1000, of which a tenth is weak: not the 50 of a draw among the weak.
    assert sum(pruned) / len(pruned) == pytest.approx(5.0, abs=0.6)
    assert not taming.chosen_to_prune(is_weak, torch.ones(1000), 0.0).any()


def test_pruning_prefers_low_scores_and_never_takes_a_birth() -> None:
    importance = torch.full((100,), 1e3)
    importance[:20] = 0.0
    is_weak = torch.zeros(140, dtype=torch.bool)
    is_weak[10:30] = True
    is_weak[100:] = True
    # Half of 60 are drawn: the 20 without a score first, 10 of which are weak, then 10 others.
    is_dead = taming.chosen_to_prune(is_weak, importance, 0.5)
    assert is_dead[10:20].all() and not is_dead[:10].any()
    assert not is_dead[30:].any() and int(is_dead.sum()) <= 20


def test_medians_are_those_of_all_gaussians() -> None:
    terms = {
        "blend": torch.tensor([2.0, 0.0, 4.0, 8.0]),
        "opacity": torch.tensor([0.4, 0.1, 0.8, 0.6]),  # the second is in no pixel
    }
    expected = torch.tensor([25.0 + 100.0, 0.0 + 25.0, 50.0 + 200.0, 100.0 + 150.0])
    weights = {"blend": 50.0, "opacity": 100.0}
    torch.testing.assert_close(taming.weighted_sum(terms, weights), expected)


def test_the_map_of_the_loss_is_linear_in_the_absolute_error() -> None:
    image = torch.full((1, 1, 4, 3), 0.1)  # no edges
    render = image.clone()
    render[0, 0, :, 0] += torch.tensor([0.0, 0.15, -0.3, 0.6])
    pixel_map = TamingStrategy(edge_weight=7.0, mse_weight=8.0)._pixel_map(image, render)
    torch.testing.assert_close(pixel_map, torch.tensor([[[0.0, 2.0, 4.0, 8.0]]]))
    image = torch.zeros(1, 5, 5, 3)
    image[0, 2, 2] = 1.0
    edges = TamingStrategy(edge_weight=7.0, mse_weight=8.0)._pixel_map(image, image)
    assert edges[0, 2, 2] == 7.0 and float(edges.sum()) == 7.0


def test_radii_are_three_standard_deviations_in_whole_pixels() -> None:
    factors = torch.randn(50, 2, 2).double() * 5
    covariances = factors @ factors.mT + 0.3 * torch.eye(2)
    inverse = torch.linalg.inv(covariances)
    conics = torch.stack([inverse[:, 0, 0], inverse[:, 0, 1], inverse[:, 1, 1]], dim=-1)
    expected = (3 * torch.linalg.eigvalsh(covariances)[:, 1].sqrt()).ceil()
    torch.testing.assert_close(taming.screen_radius(conics), expected)
    # A round one, whose eigenvalues are kept apart by sqrt(0.1): 3 sqrt(4.316) = 6.2.
    assert taming.screen_radius(torch.tensor([[0.25, 0.0, 0.25]])).tolist() == [7.0]


def test_the_score_is_the_one_written_down_here() -> None:
    run = _Run(score_views=4)
    gradient = torch.rand(COUNT)
    gradient[::7] = 0.0
    run.params["means"].data[:6, 1] += 30.0  # in no view
    importance = run.strategy._importance(run.gaussians, gradient, {"probe": run.probe})
    views = [run.probe(view) for view in range(4)]
    expected = sum(reference_score(run.params, gradient, seen) for seen in views)
    torch.testing.assert_close(importance.double(), expected, rtol=1e-4, atol=1e-4)
    assert (importance[:6] == 0).all() and (importance > 0).float().mean() > 0.5
    is_visible = (views[0].info["radii"][0] > 0).all(-1)
    is_entered = entered_pixels(views[0].info)[0].any((1, 2))
    assert (is_visible & ~is_entered).any(), "the comparison needs Gaussians that are hidden"


def test_each_weight_is_of_the_term_that_it_names() -> None:
    run = _Run(score_views=4)
    gradient = torch.rand(COUNT)
    names = [name for name in vars(run.strategy) if name.endswith("_weight")]
    before = run.strategy._importance(run.gaussians, gradient, {"probe": run.probe})
    for name in names:
        run = _Run(score_views=4, **{name: 0.0})
        without = run.strategy._importance(run.gaussians, gradient, {"probe": run.probe})
        assert (without < before).any(), name
        if name not in ("edge_weight", "mse_weight"):  # these two are weights within a term
            assert (without <= before).all(), name
    assert len(names) == 11


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
    before = len(run)
    run.steps(50, 52, 56)
    assert len(run) == before


def test_the_budget_is_a_multiple_of_the_start_unless_it_is_given() -> None:
    for options, most in (({"max_gaussians": 0, "budget_factor": 1.5}, 90), ({}, 150)):
        run = _Run(**options)
        run.steps(0, *range(8, 50, 8))
        assert COUNT < len(run) <= most


def test_a_multiple_of_the_start_is_rounded_down(monkeypatch) -> None:
    run = _Run(max_gaussians=0, budget_factor=1.495)
    budgets = []
    monkeypatch.setattr(
        run.strategy, "_target", lambda step, state, budget: budgets.append(budget) or budget
    )
    run.steps(0, 8)
    assert budgets == [89]  # of 89.7


def test_nothing_is_born_below_the_threshold_or_below_the_count() -> None:
    calm = _Run(grow_grad2d=1e9)
    calm.steps(*range(20))
    assert len(calm) == COUNT
    full = _Run(max_gaussians=40)
    expected = full.opacities.sort().values[-40:]
    full.steps(*range(12))
    torch.testing.assert_close(full.opacities.sort().values, expected)


def _run_with_hidden_weak(**options) -> _Run:
    """40 transparent Gaussians, 20 of which no camera shows, and 20 large ones."""
    run = _Run(grow_grad2d=1e9, prune_opa=0.01, **options)
    run.params["opacities"].data.fill_(0.0)
    run.params["opacities"].data[:40] = -5.0  # 0.0067, which is still drawn
    run.params["scales"].data.fill_(-5.0)
    run.params["scales"].data[40:] = 2.0
    run.params["means"].data[:20, 1] += 30.0
    return run


def test_the_weak_that_no_view_shows_are_drawn_first_and_large_ones_only_after_a_reset() -> None:
    run = _run_with_hidden_weak()
    run.steps(*range(8))
    assert len(run) == COUNT
    run.steps(8)  # 20 of 60 are drawn, which are those that have no score
    assert len(run) == COUNT - 20
    assert run.params["means"][:, 1].max() < 20
    run = _run_with_hidden_weak(reset_every=11)
    run.params["means"].data[:20, 1] -= 30.0
    run.params["means"].data[40:, 1] += 60.0
    run.steps(*range(9))
    assert int((run.params["scales"][:, 0] > 0).sum()) == 20
    run.steps(11)
    assert run.opacities.max() == pytest.approx(0.01)
    before = len(run)
    run.strategy.prune_opa = 1e-6
    run.steps(12)  # 20 are large now: half of them are drawn, from those that have no score
    assert len(run) == before - 10


def test_only_the_first_refinements_prune() -> None:
    for allowed, pruning_steps in ((2, [8, 12]), (0, [])):
        run = _run_with_hidden_weak(prune_refinements=allowed)
        shrunk = []
        for step in range(24):
            before = len(run)
            # Hidden again, so that every refinement has something to prune.
            run.params["means"].data[: len(run) // 2, 1] += 30.0
            run.steps(step)
            if len(run) < before:
                shrunk.append(step)
        assert shrunk == pruning_steps
    published = TamingStrategy()
    steps = range(1000, 15_000, 500)
    numbers = [published._refinement(step) for step in steps]
    assert numbers == list(range(1, 29)) and published.prune_refinements == 27


def test_a_pruning_knows_the_score_of_each_gaussian_that_stayed(monkeypatch) -> None:
    run = _Run()
    run.steps(*range(8))
    before = run.params["means"].detach().clone()
    importance = torch.rand(COUNT) + 1.0
    monkeypatch.setattr(run.strategy, "_importance", lambda *_: importance)
    given = []
    monkeypatch.setattr(
        taming,
        "chosen_to_prune",
        lambda is_weak, known, share: given.append(known) or torch.zeros_like(is_weak),
    )
    run.steps(8)
    (known,) = given
    means = run.params["means"].detach()
    assert len(known) < COUNT < len(means), "the comparison needs splits"
    for row, score in enumerate(known.tolist()):
        (former,) = torch.where((before == means[row]).all(-1))[0].tolist()
        assert score == importance[former]


def test_statistics_start_anew_at_each_refinement() -> None:
    run = _Run()
    run.steps(*range(8))
    assert run.state["grad2d"].max() > 0
    run.steps(8)
    assert run.state["grad2d"].max() == run.state["count"].max() == 0


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
    # 22 of 24 refinements, as 27 of 29 before.
    assert (half.prune_refinements, tiny.prune_refinements) == (27, 22)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("max_gaussians", -1),
        ("budget_factor", 0.0),
        ("refine_every", 0),
        ("prune_share", 2.0),
        ("prune_refinements", -1),
        ("reset_opa", 0.0),
    ],
)
def test_impossible_options_are_refused(option: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{option} is {value}"):
        TamingStrategy(**{option: value})
