"""Terms of the loss: what they give, how they are weighted, and that a wrong shape is said."""

import dataclasses

import pytest
import torch

from gs_densify.config.loss_terms import LOSS_TERMS, LossOptions
from gs_densify.errors import ConfigError
from gs_densify.training.batches import Batch
from gs_densify.training.terms.base import LossInputs, WeightedTerm


def inputs(steps: list[list[int]]) -> LossInputs:
    count = sum(map(len, steps))
    weights = torch.tensor([1 / len(views) for views in steps for _ in views])
    images = torch.zeros(count, 2, 2, 3)
    batch = Batch(steps, torch.eye(4).expand(count, 4, 4), torch.eye(3).expand(count, 3, 3),
                  images, weights)  # fmt: skip
    params = {"opacities": torch.tensor([0.0, 2.0]), "scales": torch.tensor([[0.0, 1.0, 2.0]])}
    return LossInputs(params, torch.rand(count, 2, 2, 3), torch.ones(count, 2, 2, 1), batch, 0)


def test_regularisers_are_means_of_activated_parameters() -> None:
    one = inputs([[0]])
    opacity, scale = (LOSS_TERMS.load(name)(one) for name in ("opacity_reg", "scale_reg"))
    assert opacity == pytest.approx((0.5 + 1 / (1 + 2.718281828**-2)) / 2)
    assert scale == pytest.approx((1 + 2.718281828 + 2.718281828**2) / 3)


def test_a_term_of_parameters_counts_once_a_step_and_one_of_views_by_their_weights() -> None:
    joined = inputs([[0, 1, 2], [3]])

    def of_parameters(given: LossInputs) -> torch.Tensor:
        return given.params["opacities"].sum()

    def of_views(given: LossInputs) -> torch.Tensor:
        return torch.tensor([1.0, 2.0, 3.0, 10.0])

    of_views.of_views = True  # type: ignore[attr-defined]
    assert WeightedTerm("a", 0.5, of_parameters)(joined) == pytest.approx(0.5 * 2 * 2.0)
    assert WeightedTerm("b", 0.5, of_views)(joined) == pytest.approx(0.5 * (2.0 + 10.0))


@pytest.mark.parametrize("value", [torch.zeros(3), 1.0, None])
def test_another_shape_is_refused_in_words(value: object) -> None:
    with pytest.raises(ConfigError, match="the term 'odd' of the loss gave"):
        WeightedTerm("odd", 1.0, lambda given: value)(inputs([[0]]))  # type: ignore[arg-type]


def test_each_term_is_an_option() -> None:
    names = {one.name for one in dataclasses.fields(LossOptions)}
    assert names >= {"ssim", "opacity_reg", "scale_reg"}
    assert LossOptions(opacity_reg=0.3).weights() == {"opacity_reg": 0.3, "scale_reg": 0.0}
