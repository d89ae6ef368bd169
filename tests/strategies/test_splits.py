"""Long-axis and moment-conserving splits and the revised clone: what they keep, and hand values."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from splats_example import snapshot, trained

from gs_densify.errors import StrategyError
from gs_densify.model.geometry import covariances
from gs_densify.strategies import ops, splits

LONG = {"offset": 1.35, "shrink_long": 0.55, "shrink_others": 0.893, "opacity_factor": 0.6}
OPERATIONS = {
    "long_axis_split": lambda *model: splits.long_axis_split(*model, **LONG),
    "moment_split": lambda *model: splits.moment_split(*model, delta=0.5),
    "revised_clone": splits.revised_clone,
}


def _exact(count: int, seed: int) -> dict[str, torch.Tensor]:
    """Random Gaussians in float64, opacities between 0.01 and 0.95."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    opacities = 0.01 + 0.94 * torch.rand(count, generator=generator, dtype=torch.float64)
    return {
        "means": draw(count, 3),
        "scales": 1.5 * draw(count, 3) - 2.0,
        "quats": draw(count, 4),
        "opacities": torch.logit(opacities),
    }


def _one(quat: tuple[float, ...]) -> dict[str, torch.Tensor]:
    """One Gaussian of scales 0.1, 0.4, 0.2 and opacity 0.5 at (1, 2, 3)."""
    return {
        "means": torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64),
        "scales": torch.tensor([[0.1, 0.4, 0.2]], dtype=torch.float64).log(),
        "quats": torch.tensor([quat], dtype=torch.float64),
        "opacities": torch.zeros(1, dtype=torch.float64),
    }


def _moments(splats: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mass, mass times mean and mass times raw second moment of each Gaussian."""
    mean = splats["means"]
    mass = splats["opacities"].sigmoid() * splats["scales"].sum(-1).exp()
    second = covariances(splats["quats"], splats["scales"].exp())
    second = second + mean[:, :, None] * mean[:, None, :]
    return mass, mass[:, None] * mean, mass[:, None, None] * second


def _everything(params: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.ones(len(params["means"]), dtype=torch.bool)


@settings(max_examples=40)
@given(delta=st.floats(0.01, 0.86), seed=st.integers(0, 2**31))
def test_a_moment_split_conserves_mass_mean_and_covariance(delta: float, seed: int) -> None:
    params = _exact(20, seed)
    before = _moments(params)
    splits.moment_split(params, {}, {}, _everything(params), delta=delta)
    assert len(params["means"]) == 40
    for old, new in zip(before, _moments(params), strict=True):
        scale = old.abs().flatten(1).amax(1) if old.dim() > 1 else old
        error = (new[:20] + new[20:] - old).abs().reshape(20, -1).amax(1)
        assert (error <= 1e-12 * scale + 1e-300).all()


def test_the_default_moment_split_is_that_of_two_halves() -> None:
    """Offset sqrt(2/pi) sigma, scale sqrt(1 - 2/pi) sigma, and 0.829 of the opacity."""
    params = _one((1.0, 0.0, 0.0, 0.0))
    splits.moment_split(params, {}, {}, _everything(params), delta=math.sqrt(2 / math.pi))
    expected = torch.tensor([[1.0, 2.0 + 0.4 * 0.797885, 3.0], [1.0, 2.0 - 0.4 * 0.797885, 3.0]])
    torch.testing.assert_close(params["means"].detach().float(), expected, atol=1e-6, rtol=0)
    scales = params["scales"].detach().exp()[0].tolist()
    assert scales == pytest.approx([0.1, 0.4 * 0.602810, 0.2], rel=1e-5)
    assert params["opacities"].sigmoid().tolist() == pytest.approx([0.5 * 0.829449] * 2, rel=1e-5)


def test_halves_have_the_moments_of_a_cut_gaussian() -> None:
    """Against samples: those on one side of the plane through the mean."""
    draws = torch.randn(2_000_000, dtype=torch.float64).abs()
    params = _one((1.0, 0.0, 0.0, 0.0))
    splits.moment_split(params, {}, {}, _everything(params), delta=math.sqrt(2 / math.pi))
    assert (params["means"][0, 1].item() - 2) / 0.4 == pytest.approx(draws.mean().item(), abs=2e-3)
    assert params["scales"][0, 1].exp().item() / 0.4 == pytest.approx(draws.std().item(), abs=2e-3)


@pytest.mark.parametrize(
    ("quat", "direction"),
    [
        ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
        ((1.0, 0.0, 0.0, 1.0), (-1.0, 0.0, 0.0)),  # a quarter turn about z
        ((2.0, 2.0, 0.0, 0.0), (0.0, 0.0, 1.0)),  # a quarter turn about x, not normalised
    ],
)
def test_long_axis_children_have_hand_computed_values(quat, direction) -> None:
    params = _one(quat)
    splits.long_axis_split(params, {}, {}, _everything(params), **LONG)
    shift = 1.35 * 0.4 * torch.tensor(direction, dtype=torch.float64)
    center = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    expected = torch.stack([center + shift, center - shift])
    torch.testing.assert_close(params["means"].detach(), expected)
    for row in params["scales"].detach().exp().tolist():
        assert row == pytest.approx([0.1 * 0.893, 0.4 * 0.55, 0.2 * 0.893])
    assert params["opacities"].sigmoid().tolist() == pytest.approx([0.3, 0.3])


def test_long_axis_children_lie_on_the_longest_principal_axis() -> None:
    params = _exact(30, seed=3)
    parents = {name: value.clone() for name, value in params.items()}
    splits.long_axis_split(params, {}, {}, _everything(params), **LONG)
    first, second = params["means"].detach().split(30)
    torch.testing.assert_close((first + second) / 2, parents["means"])
    values, vectors = torch.linalg.eigh(covariances(parents["quats"], parents["scales"].exp()))
    along = ((first - second) * vectors[:, :, 2]).sum(-1).abs()
    torch.testing.assert_close(along, 2 * 1.35 * values[:, 2].sqrt())
    torch.testing.assert_close((first - second).norm(dim=-1), along)


def test_a_factor_above_one_leaves_opacities_finite_and_below_one() -> None:
    params = _exact(10, seed=4)
    params["opacities"] = torch.full_like(params["opacities"], 40.0)
    splits.moment_split(params, {}, {}, _everything(params), delta=0.99)
    assert torch.isfinite(params["opacities"]).all()
    assert (params["opacities"].sigmoid() < 1).all()


@pytest.mark.parametrize("name", ["long_axis_split", "moment_split"])
def test_splits_keep_order_moments_and_statistics(name: str) -> None:
    params, optimizers, state = trained(30)
    mask = torch.arange(30) % 3 == 0
    before = snapshot(params, optimizers, state)
    OPERATIONS[name](params, optimizers, state, mask)
    after = snapshot(params, optimizers, state)
    kept, chosen = torch.where(~mask)[0], torch.where(mask)[0]
    order = torch.cat([kept, chosen, chosen])
    for key in ("param quats", "param sh0", "param shN", "state grad2d", "state history"):
        assert torch.equal(after[key], before[key][order]), key
    for key in (key for key in before if key.startswith("exp_avg")):
        assert torch.equal(after[key][:20], before[key][kept]), key
        assert (after[key][20:] == 0).all(), key
    for key in ("param means", "param scales", "param opacities"):
        assert torch.equal(after[key][:20], before[key][kept]), key
        assert (after[key][20:] != before[key][order][20:]).any(), key


def test_a_revised_clone_covers_as_its_parent_did() -> None:
    params, optimizers, state = trained(30)
    mask = torch.arange(30) % 3 == 0
    before = snapshot(params, optimizers, state)
    splits.revised_clone(params, optimizers, state, mask)
    after = snapshot(params, optimizers, state)
    copies, parents = after["param opacities"][30:], after["param opacities"][:30][mask]
    assert torch.equal(copies, parents)
    together = 1 - (1 - copies.sigmoid()) * (1 - parents.sigmoid())
    torch.testing.assert_close(together, before["param opacities"][mask].sigmoid())
    assert torch.equal(after["param opacities"][:30][~mask], before["param opacities"][~mask])
    assert torch.equal(after["param means"][30:], before["param means"][mask])
    assert torch.equal(after["state history"][30:], before["state history"][mask])


def test_a_revised_clone_zeroes_the_copies_moments_and_the_parents_opacity_moments() -> None:
    params, optimizers, state = trained(30)
    mask = torch.arange(30) % 3 == 0
    before = snapshot(params, optimizers, state)
    splits.revised_clone(params, optimizers, state, mask)
    after = snapshot(params, optimizers, state)
    for key in (key for key in before if key.startswith("exp_avg")):
        expected = before[key].clone()
        if key.endswith("of opacities"):
            expected[mask] = 0
        assert torch.equal(after[key][:30], expected), key
        assert (after[key][30:] == 0).all(), key


def test_saturated_opacities_stay_finite_when_cloned() -> None:
    params, optimizers, state = trained(4)
    params["opacities"].data.fill_(40.0)
    splits.revised_clone(params, optimizers, state, torch.ones(4, dtype=torch.bool))
    assert torch.isfinite(params["opacities"]).all()


@pytest.mark.parametrize("name", OPERATIONS)
def test_splits_are_deterministic_trainable_and_refuse_stale_masks(name: str) -> None:
    left = []
    mask = torch.arange(30) % 4 == 1
    for seed in (1, 2):
        torch.manual_seed(seed)
        params, optimizers, state = trained(30)
        OPERATIONS[name](params, optimizers, state, mask)
        left.append(snapshot(params, optimizers, state))
    assert all(torch.equal(left[0][key], left[1][key]) for key in left[0])
    with pytest.raises(StrategyError, match=f"mask of 30.*{ops.count(params)} Gaussians"):
        OPERATIONS[name](params, optimizers, state, mask)
    before = params["opacities"].detach().clone()
    params["opacities"].grad = torch.ones_like(params["opacities"])
    optimizers["opacities"].step()
    assert (params["opacities"] != before).all()


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_empty_mask_changes_nothing(name: str) -> None:
    params, optimizers, state = trained(10)
    before = snapshot(params, optimizers, state)
    OPERATIONS[name](params, optimizers, state, torch.zeros(10, dtype=torch.bool))
    after = snapshot(params, optimizers, state)
    assert all(torch.equal(after[key], before[key]) for key in before)


@pytest.mark.parametrize("delta", [0.0, 1.0, -0.5, math.nan])
def test_a_delta_outside_its_range_is_refused(delta: float) -> None:
    with pytest.raises(StrategyError, match=r"delta is .*; a number between 0 and 1 is needed"):
        splits.moment_split(*trained(3), torch.ones(3, dtype=torch.bool), delta=delta)


def test_a_factor_that_is_not_positive_is_refused() -> None:
    wrong = {**LONG, "shrink_long": 0.0}
    with pytest.raises(StrategyError, match=r"shrink_long is 0.0; a positive number"):
        splits.long_axis_split(*trained(3), torch.ones(3, dtype=torch.bool), **wrong)
