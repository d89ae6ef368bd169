"""Operations at their edges: opaque Gaussians, unequal numbers of copies, very many weights."""

import pytest
import torch
from splats_example import snapshot, trained

from gs_densify.strategies import ops


def test_a_split_keeps_its_parents_opacity_unless_asked_otherwise() -> None:
    params, optimizers, state = trained(10)
    parents = params["opacities"].detach()[4:6].clone()
    mask = torch.zeros(10, dtype=torch.bool)
    mask[4:6] = True
    ops.clone_and_split(params, optimizers, state, torch.zeros_like(mask), mask)
    assert torch.equal(params["opacities"].detach()[8:], torch.cat([parents, parents]))


def test_relocation_does_not_mix_gaussians_of_different_numbers_of_copies() -> None:
    opacities, scales = torch.tensor([0.3, 0.6, 0.9]), torch.rand(3, 3)
    ratios = torch.tensor([1, 4, 30])
    at_once = ops.compute_relocation(opacities, scales, ratios)
    for i in range(3):
        alone = ops.compute_relocation(opacities[i : i + 1], scales[i : i + 1], ratios[i : i + 1])
        for whole, single in zip(at_once, alone, strict=True):
            torch.testing.assert_close(whole[i], single[0])


@pytest.mark.parametrize("operation", ["relocate", "sample_add"])
def test_saturated_opacities_stay_finite_when_copied(operation: str) -> None:
    params, optimizers, state = trained(6)
    params["opacities"].data.fill_(40.0)
    dead = torch.arange(6) < 2
    chosen = {"mask": dead} if operation == "relocate" else {"n": 3}
    getattr(ops, operation)(params, optimizers, state, **chosen)
    assert all(
        torch.isfinite(value).all() for value in snapshot(params, optimizers, state).values()
    )


def test_more_gaussians_can_be_sampled_from_than_multinomial_takes() -> None:
    weights = torch.zeros(2**24 + 1, dtype=torch.float32)
    weights[-1] = 1.0
    with pytest.raises(RuntimeError, match="number of categories"):
        torch.multinomial(weights, 3, replacement=True)
    assert (ops.sample_with_replacement(weights, 3) == 2**24).all()
