"""3DGS-MCMC: its decisions, its budget, and the same as gsplat's strategy with the same seeds."""

import gsplat.strategy
import gsplat.strategy.ops
import pytest
import torch
from splats_example import snapshot, trained

from gs_densify.errors import ConfigError
from gs_densify.model.geometry import covariances
from gs_densify.strategies import ops
from gs_densify.strategies.methods.mcmc import MCMCStrategy, dead, num_added

LR = 1.6e-4


def _run(strategy, steps, *, count: int = 200, device: str = "cpu") -> list[dict]:
    """Snapshots after each of `steps`, from the same model and random state."""
    params, optimizers, state = trained(count, device=device)
    state = strategy.initialize_state()
    left = []
    for step in steps:
        torch.manual_seed(step)
        arguments = {"info": {"means_lr": LR}}
        if isinstance(strategy, gsplat.strategy.MCMCStrategy):
            arguments["lr"] = LR
        strategy.step_post_backward(params, optimizers, state, step, **arguments)
        left.append(snapshot(params, optimizers, {}))
    return left


def _assert_same(ours: list[dict], theirs: list[dict], **tolerance: float) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.keys() == other.keys()
        for name, expected in other.items():
            torch.testing.assert_close(
                mine[name], expected, msg=lambda text, n=name: f"{n}: {text}", **tolerance
            )


def _patch_cuda_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    def relocation(opacities, scales, ratios, binoms):
        return ops.compute_relocation(opacities, scales, ratios.clamp(1, len(binoms)))

    def covariance(quats, scales, compute_covar, compute_preci, triu):
        assert (compute_covar, compute_preci, triu) == (True, False, False)
        return covariances(quats, scales), None

    monkeypatch.setattr(gsplat.strategy.ops, "compute_relocation", relocation)
    monkeypatch.setattr(gsplat.strategy.ops, "quat_scale_to_covar_preci", covariance)


OPTIONS = {"min_opacity": 0.15, "refine_stop_iter": 900}  # 0.15: about a fifth are dead
STEPS = (0, 500, 501, 600, 601, 700, 800, 900, 901)


def test_equals_gsplats_strategy_with_the_same_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    _patch_cuda_functions(monkeypatch)
    ours = _run(MCMCStrategy(max_gaussians=225, **OPTIONS), STEPS)
    theirs = _run(gsplat.strategy.MCMCStrategy(cap_max=225, **OPTIONS), STEPS)
    _assert_same(ours, theirs, rtol=1e-4, atol=1e-6)
    assert [len(left["param means"]) for left in ours] == [200] * 3 + [210] * 2 + [220] + [225] * 3
    is_moved = (ours[2]["param shN"] != ours[3]["param shN"][:200]).any(-1).any(-1)
    assert is_moved.sum() > 10


@pytest.mark.gpu
def test_equals_gsplats_strategy_on_a_gpu() -> None:
    common = {"count": 5000, "device": "cuda"}
    ours = _run(MCMCStrategy(max_gaussians=5600, **OPTIONS), STEPS, **common)
    theirs = _run(gsplat.strategy.MCMCStrategy(cap_max=5600, **OPTIONS), STEPS, **common)
    # Samples are drawn in proportion to opacities that differ in the last bits from the second
    # refinement on, so that single draws may differ: the first is compared row by row.
    _assert_same(ours[:5], theirs[:5], rtol=1e-3, atol=1e-5)
    assert [len(a["param means"]) for a in ours] == [len(b["param means"]) for b in theirs]


def test_decisions() -> None:
    opacities = torch.tensor([0.9, 0.005, 0.0051, 0.001, 0.9])
    assert dead(opacities, 0.005).tolist() == [False, True, False, True, False]
    assert num_added(1000, 0.05, 1_000_000) == 50
    assert num_added(1000, 0.05, 1020) == 20
    assert num_added(1000, 0.05, 900) == 0
    assert num_added(19, 0.05, 1_000_000) == 0


def _refined_once(strategy: MCMCStrategy, count: int, step: int = 600):
    params, optimizers, state = trained(count)
    before = {name: value.detach().clone() for name, value in params.items()}
    info = {"means_lr": LR}
    strategy.step_post_backward(params, optimizers, state, step, info)
    return before, params, optimizers, state


def test_the_budget_holds_where_the_points_exceed_it() -> None:
    strategy = MCMCStrategy(max_gaussians=120, noise_lr=0.0)
    before, params, _, state = _refined_once(strategy, 200)
    kept = torch.sort(torch.topk(before["opacities"], 120).indices).values
    assert torch.equal(params["means"].detach(), before["means"][kept])
    assert len(state["grad2d"]) == 120


def test_after_a_refinement_nothing_is_dead_and_what_is_added_are_copies() -> None:
    strategy = MCMCStrategy(min_opacity=0.15, noise_lr=0.0)
    before, params, _, _ = _refined_once(strategy, 200)
    assert len(params["means"]) == 210
    lowest = torch.logit(torch.tensor(0.15))
    assert (params["opacities"] >= lowest - 1e-4).all()
    is_alive = before["opacities"].sigmoid() > 0.15
    live = before["means"][is_alive]
    copied = (params["means"].detach()[:, None] == live[None]).all(-1).any(1)
    assert copied.all()


@pytest.mark.parametrize("step", [0, 499, 500, 550, 25_000, 29_900])
def test_outside_refinements_only_the_means_move(step: int) -> None:
    before, params, _, _ = _refined_once(MCMCStrategy(), 50, step)
    assert (params["means"].detach() != before.pop("means")).any()
    for name, value in before.items():
        assert torch.equal(params[name].detach(), value), name


def test_noise_is_proportional_to_the_learning_rate_of_the_step() -> None:
    moves = []
    for rate in (1e-4, 3e-4):
        params, optimizers, state = trained(50)
        before = params["means"].detach().double().clone()
        torch.manual_seed(3)
        MCMCStrategy().step_post_backward(params, optimizers, state, 0, {"means_lr": rate})
        moves.append(params["means"].detach().double() - before)
    torch.testing.assert_close(moves[1], 3 * moves[0], rtol=1e-3, atol=2e-6)
    assert moves[0].abs().max() > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"refine_every": 0}, "refine_every is 0; at least 1"),
        ({"max_gaussians": 0}, "max_gaussians is 0; at least 1"),
        ({"growth": -0.1}, "growth is -0.1; at least 0"),
        ({"min_opacity": 1.0}, "min_opacity is 1.0; a number between 0 and 1"),
    ],
)
def test_options_out_of_range_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MCMCStrategy(**options)
