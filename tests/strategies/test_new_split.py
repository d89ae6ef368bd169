"""New Split: the original loop but for what a split and a clone leave behind."""

import math
from types import SimpleNamespace

import pytest
import torch
from splats_example import snapshot, trained

from gs_densify.errors import ConfigError
from gs_densify.model.geometry import covariances
from gs_densify.strategies.methods.default import DefaultStrategy
from gs_densify.strategies.methods.new_split import NewSplitStrategy, clones_and_splits

SCHEDULE = {"refine_start_iter": 1, "refine_every": 3, "refine_stop_iter": 13, "reset_every": 8}


def _info(count: int, step: int) -> dict:
    """Random gradients of which about half exceed 2e-4 in half-image units."""
    generator = torch.Generator().manual_seed(step)
    gradient = 5e-6 * torch.randn(1, count, 2, generator=generator)
    means2d = SimpleNamespace(grad=gradient, absgrad=1.5 * gradient.abs(), retain_grad=lambda: None)
    radii = torch.ones(1, count, 2, dtype=torch.int32)
    return {"means2d": means2d, "radii": radii, "width": 96, "height": 64, "n_cameras": 1}


def _run(strategy, steps: range, scene_scale: float = 3.0) -> list[dict[str, torch.Tensor]]:
    params, optimizers, _ = trained(60)
    state = strategy.initialize_state(scene_scale=scene_scale)
    left = []
    for step in steps:
        info = _info(len(params["means"]), step)
        strategy.step_pre_backward(params, optimizers, state, step, info)
        strategy.step_post_backward(params, optimizers, state, step, info)
        left.append(snapshot(params, optimizers, state))
    return left


def _total_moments(left: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    values = {name: left[f"param {name}"].double() for name in ("means", "scales", "quats")}
    mass = left["param opacities"].double().sigmoid() * values["scales"].sum(-1).exp()
    mean = values["means"]
    second = covariances(values["quats"], values["scales"].exp())
    second = second + mean[:, :, None] * mean[:, None, :]
    sums = (mass, mass[:, None] * mean, mass[:, None, None] * second)
    return tuple(each.sum(0) for each in sums)


def test_decisions() -> None:
    gradients = torch.tensor([0.2, 0.3, 0.3, 0.3])
    largest = torch.tensor([2.0, 1.0, 0.5, 1.1])
    is_clone, is_split = clones_and_splits(gradients, largest, above=0.2, size=1.0)
    assert is_clone.tolist() == [False, True, True, False]
    assert is_split.tolist() == [False, False, False, True]


@pytest.mark.parametrize("absgrad", [False, True])
def test_without_large_gaussians_it_is_the_original_method(absgrad: bool) -> None:
    options = {**SCHEDULE, "grow_scale3d": 100.0, "absgrad": absgrad}
    ours = _run(NewSplitStrategy(**options), range(16))
    theirs = _run(DefaultStrategy(**options), range(16))
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.keys() == other.keys()
        assert all(torch.equal(mine[name], other[name]) for name in other)
    assert len(ours[-1]["param means"]) > 2 * len(ours[0]["param means"])


def test_it_grows_the_same_gaussians_as_the_original_method() -> None:
    options = {**SCHEDULE, "refine_stop_iter": 4}
    ours = _run(NewSplitStrategy(**options), range(4))[-1]
    theirs = _run(DefaultStrategy(**options), range(4))[-1]
    assert torch.equal(ours["param sh0"], theirs["param sh0"])
    assert (ours["param means"] != theirs["param means"]).any()
    assert len(ours["param means"]) > 75


@pytest.mark.parametrize("delta", [0.3, 0.5, math.sqrt(2 / math.pi)])
def test_a_refinement_of_splits_leaves_the_models_moments(delta: float) -> None:
    options = {**SCHEDULE, "grow_scale3d": 0.0, "prune_opa": 1e-9, "reset_every": 1000}
    left = _run(NewSplitStrategy(delta=delta, **options), range(4))
    assert len(left[3]["param means"]) > 75
    for before, after in zip(_total_moments(left[2]), _total_moments(left[3]), strict=True):
        assert (after - before).abs().max() <= 1e-5 * before.abs().max()


def test_the_original_split_does_not_leave_them() -> None:
    options = {**SCHEDULE, "grow_scale3d": 0.0, "prune_opa": 1e-9, "reset_every": 1000}
    left = _run(DefaultStrategy(**options), range(4))
    for before, after in zip(_total_moments(left[2]), _total_moments(left[3]), strict=True):
        assert (after - before).abs().max() > 1e-2 * before.abs().max()


def test_clones_are_brighter_together_unless_they_are_revised() -> None:
    options = {**SCHEDULE, "grow_scale3d": 100.0, "prune_opa": 1e-9, "reset_every": 1000}
    for revised in (False, True):
        left = _run(NewSplitStrategy(revised_clone=revised, **options), range(4))
        before, after = (left[i]["param opacities"].double().sigmoid() for i in (2, 3))
        clones = after[len(before) :]
        is_same = torch.isclose(after[: len(before)], before, atol=1e-7, rtol=0)
        assert len(clones) > 15
        assert (~is_same).sum() == (len(clones) if revised else 0)
        if revised:
            covered = 1 - (1 - clones) ** 2
            torch.testing.assert_close(covered, before[~is_same], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delta": 1.0}, "delta is 1.0; a number between 0 and 1.0"),
        ({"delta": 0.0}, "delta is 0.0; a number between 0 and 1.0"),
        ({"prune_opa": 0.5}, "prune_opa is 0.5; a number between 0 and 0.5"),
        ({"refine_every": 0}, "refine_every is 0; at least 1 step"),
    ],
)
def test_options_out_of_range_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        NewSplitStrategy(**options)
