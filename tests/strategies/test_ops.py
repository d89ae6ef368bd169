"""Operations against gsplat's own, and what every one of them must keep."""

import gsplat.strategy.ops as theirs
import pytest
import torch
from splats_example import snapshot, trained

from gs_densify.errors import StrategyError
from gs_densify.model.geometry import covariances
from gs_densify.strategies import ops as ours

BINOMS = torch.tensor([[float(torch.exp(torch.lgamma(torch.tensor(n + 1.0)) - torch.lgamma(
    torch.tensor(k + 1.0)) - torch.lgamma(torch.tensor(n - k + 1.0)))) if k <= n else 0.0
    for k in range(51)] for n in range(51)])  # fmt: skip


def _both(operation: str, count: int = 50, device: str = "cpu", **arguments):
    """What our and gsplat's operation leave of the same model, with the same random draws."""
    results = []
    for module in (ours, theirs):
        params, optimizers, state = trained(count, device=device)
        if module is theirs:
            state = {k: v for k, v in state.items() if isinstance(v, torch.Tensor)}
        torch.manual_seed(7)
        getattr(module, operation)(params, optimizers, state, **arguments)
        results.append(snapshot(params, optimizers, state))
    return results


def _assert_same(ours_left: dict, theirs_left: dict, **tolerance: float) -> None:
    assert ours_left.keys() == theirs_left.keys()
    for name, expected in theirs_left.items():
        torch.testing.assert_close(
            ours_left[name], expected, msg=lambda text, n=name: f"{n}: {text}", **tolerance
        )


def _mask(count: int, share: float, device: str = "cpu") -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return (torch.rand(count, generator=generator) < share).to(device)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_duplicate_split_and_remove_equal_gsplats(share: float) -> None:
    for operation in ("duplicate", "split", "remove"):
        _assert_same(*_both(operation, mask=_mask(50, share)))
    _assert_same(*_both("split", mask=_mask(50, share), revised_opacity=True))


@pytest.mark.parametrize("shares", [(0.3, 0.2), (0.3, 0.0), (0.0, 0.2), (0.0, 0.0), (1.0, 1.0)])
def test_clone_and_split_is_gsplats_duplicate_and_then_its_split(
    shares: tuple[float, float],
) -> None:
    draws = torch.rand(50, generator=torch.Generator().manual_seed(5))
    is_clone, is_split = draws < shares[0], draws > 1 - shares[1]
    params, optimizers, state = trained(50)
    torch.manual_seed(7)
    ours.clone_and_split(params, optimizers, state, is_clone, is_split, revised_opacity=True)
    found = snapshot(params, optimizers, state)
    params, optimizers, state = trained(50)
    state = {k: v for k, v in state.items() if isinstance(v, torch.Tensor)}
    torch.manual_seed(7)
    theirs.duplicate(params, optimizers, state, is_clone)
    is_split = torch.cat([is_split, is_split.new_zeros(len(params["means"]) - 50)])
    theirs.split(params, optimizers, state, is_split, revised_opacity=True)
    _assert_same(found, snapshot(params, optimizers, state))


def test_reset_opa_equals_gsplats() -> None:
    _assert_same(*_both("reset_opa", value=0.05))


@pytest.mark.gpu
def test_relocation_and_noise_equal_gsplats_on_a_gpu() -> None:
    binoms = BINOMS.cuda()
    mask = _mask(5000, 0.4, "cuda")
    common = {"count": 5000, "device": "cuda"}
    for left in (
        _both("relocate", mask=mask, binoms=binoms, **common),
        _both("sample_add", n=2000, binoms=binoms, **common),
        _both("inject_noise_to_position", scaler=0.7, **common),
    ):
        _assert_same(*left, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("ratio", [1, 2, 3, 7, 51])
def test_compute_relocation_is_equation_9_of_mcmc(ratio: int) -> None:
    """The double sum as printed, in exact integer binomials."""
    from math import comb

    opacity, scale = 0.6, 0.2
    new = 1 - (1 - opacity) ** (1 / ratio)
    total = sum(
        comb(i - 1, k) * (-1) ** k * new ** (k + 1) / (k + 1) ** 0.5
        for i in range(1, ratio + 1)
        for k in range(i)
    )
    left_opacity, left_scale = ours.compute_relocation(
        torch.tensor([opacity]), torch.full((1, 3), scale), torch.tensor([ratio])
    )
    assert left_opacity.item() == pytest.approx(new, rel=1e-5)
    assert left_scale[0, 0].item() == pytest.approx(opacity / total * scale, rel=1e-5)


def test_relocate_and_sample_add_keep_everything_in_step() -> None:
    params, optimizers, state = trained(50)
    ours.relocate(params, optimizers, state, mask=_mask(50, 0.4))
    ours.sample_add(params, optimizers, state, n=13)
    rows = {len(value) for name, value in snapshot(params, optimizers, state).items()
            if not name.startswith("step")}  # fmt: skip
    assert rows == {63}
    assert all(torch.isfinite(value).all() for value in params.values())


def test_relocated_gaussians_are_copies_of_live_ones() -> None:
    params, optimizers, state = trained(50)
    mask = _mask(50, 0.4)
    live = params["means"].detach()[~mask].clone()
    ours.relocate(params, optimizers, state, mask=mask)
    moved = params["means"].detach()[mask]
    assert (moved[:, None] == live[None]).all(-1).any(1).all()


def test_noise_has_the_gaussians_covariance_and_spares_opaque_ones() -> None:
    params, optimizers, state = trained(2)
    many = 200_000
    for name in params:
        params[name] = torch.nn.Parameter(params[name].detach()[:1].repeat_interleave(many, 0))
    params["opacities"].data.fill_(-8.0)
    before = params["means"].detach().clone()
    ours.inject_noise_to_position(params, optimizers, state, scaler=1.0)
    moved = (params["means"].detach() - before).double()
    covar = covariances(params["quats"][:1], params["scales"][:1].exp())[0].double()
    weight = torch.sigmoid(100 * (1 - torch.sigmoid(torch.tensor(-8.0)) - 0.995))
    expected = (weight.double() * covar) @ (weight.double() * covar).T
    error = (torch.cov(moved.T) - expected).norm() / expected.norm()
    assert error < 0.02
    params["opacities"].data.fill_(8.0)
    before = params["means"].detach().clone()
    ours.inject_noise_to_position(params, optimizers, state, scaler=1.0)
    torch.testing.assert_close(params["means"].detach(), before, atol=1e-9, rtol=0)


@pytest.mark.parametrize("operation", ["duplicate", "split", "remove", "relocate"])
def test_a_stale_mask_is_refused_with_both_numbers(operation: str) -> None:
    params, optimizers, state = trained(50)
    ours.duplicate(params, optimizers, state, _mask(50, 0.5))
    with pytest.raises(StrategyError, match=f"mask of 50 entries.*{len(params['means'])} Gauss"):
        getattr(ours, operation)(params, optimizers, state, mask=_mask(50, 0.5))


def test_other_entries_of_the_state_are_left_alone() -> None:
    params, optimizers, state = trained(50)
    state["binoms"] = BINOMS
    ours.split(params, optimizers, state, _mask(50, 0.5))
    assert state["scene_scale"] == 1.3
    assert state["nothing"] is None
    assert state["binoms"] is BINOMS


def test_saturated_opacities_stay_finite_when_split() -> None:
    params, optimizers, state = trained(4)
    params["opacities"].data.fill_(40.0)
    everything = torch.ones(4, dtype=torch.bool)
    ours.split(params, optimizers, state, everything, revised_opacity=True)
    assert torch.isfinite(params["opacities"]).all()


def test_optimisers_go_on_training_after_every_operation() -> None:
    params, optimizers, state = trained(20)
    ours.duplicate(params, optimizers, state, _mask(20, 0.5))
    ours.split(params, optimizers, state, torch.arange(len(params["means"])) % 3 == 0)
    ours.remove(params, optimizers, state, torch.arange(len(params["means"])) % 5 == 0)
    before = params["means"].detach().clone()
    params["means"].grad = torch.ones_like(params["means"])
    optimizers["means"].step()
    assert (params["means"] != before).all()


def test_sampling_without_replacement_is_distinct_and_follows_the_weights() -> None:
    weights = torch.tensor([0.0, 1.0, 2.0, 4.0])
    firsts = torch.zeros(4)
    for _ in range(2000):
        drawn = ours.sample_without_replacement(weights, 3)
        assert drawn.unique().numel() == 3
        assert 0 not in drawn
        firsts[drawn[0]] += 1
    torch.testing.assert_close(firsts / 2000, weights / 7, atol=0.04, rtol=0)


def test_sampling_past_the_limit_of_multinomial_follows_the_weights(monkeypatch) -> None:
    monkeypatch.setattr(ours, "_MULTINOMIAL_LIMIT", 2)
    weights = torch.tensor([0.0, 1.0, 3.0])
    share = torch.bincount(ours.sample_with_replacement(weights, 20_000), minlength=3) / 20_000
    torch.testing.assert_close(share, weights / 4, atol=0.02, rtol=0)


def test_quantile_equals_torchs_lower_one_and_has_no_limit() -> None:
    values = torch.rand(1001)
    for q in (0.0, 0.25, 0.9, 1.0):
        expected = torch.quantile(values, q, interpolation="lower")
        assert ours.quantile(values, q) == expected
    with pytest.raises(RuntimeError, match="too large"):
        torch.quantile(torch.zeros(2**24 + 1), 0.5)
    assert ours.quantile(torch.zeros(2**24 + 1, dtype=torch.uint8), 0.5) == 0
