"""The loss besides the photometric one: the terms that have a weight, and the strategy's own."""

from collections.abc import Mapping

from torch import Tensor

from gs_densify.config.loss_terms import LOSS_TERMS
from gs_densify.strategies.adapter import StrategyAdapter
from gs_densify.training.divergence import OWN_TERM
from gs_densify.training.terms.base import LossInputs, WeightedTerm


class FurtherTerms:
    """The further terms of a run."""

    def __init__(self, weights: Mapping[str, float], adapter: StrategyAdapter) -> None:
        """Loads the terms that have a weight."""
        self._adapter = adapter
        self._terms = [
            WeightedTerm(name, weight, LOSS_TERMS.load(name))
            for name, weight in weights.items()
            if weight > 0
        ]

    @property
    def may_be(self) -> bool:
        """Returns whether a step may have any."""
        return bool(self._terms) or self._adapter.has_own_term

    def __call__(self, inputs: LossInputs) -> dict[str, Tensor]:
        """Returns the weighted terms [] by name, each the sum over the steps of the call."""
        terms = {one.name: one(inputs) for one in self._terms}
        own = self._adapter.regularization(inputs.params, inputs.step)
        if own is None:
            return terms
        return {**terms, OWN_TERM: len(inputs.batch.steps) * inputs.share * own}
