"""What is looked for after the backward pass and after a hook, and who is to blame for it.

Each look waits for the GPU: the trainer looks where figures are logged, and where the number of
Gaussians changed.
"""

from gs_densify.errors import GsDensifyError, NonFiniteError
from gs_densify.model.gaussians import Gaussians
from gs_densify.strategies.adapter import StrategyAdapter
from gs_densify.training.divergence import (
    OWN_TERM,
    LossHistory,
    divergence_error,
    has_non_finite_moments,
    non_finite_rows,
)

_HOOK = "step_post_backward"


class Watch:
    """Watches a model in training for values that are not finite, and for lost gradients."""

    def __init__(self, adapter: StrategyAdapter, gaussians: Gaussians) -> None:
        self._adapter, self._gaussians = adapter, gaussians
        self.losses = LossHistory()
        """Of the steps since all was last found finite."""

    def check_update(self, step: int) -> None:
        """Raises DivergenceError where the loss or a parameter is not finite."""
        if self.losses.first_non_finite() is not None or non_finite_rows(self._gaussians.params):
            raise self._divergence(step)

    def check_hook(self, step: int) -> None:
        """Raises where a parameter is not finite after the hook: StrategyError if it is to blame.

        It is not where the loss or a gradient was non-finite before.
        """
        rows = non_finite_rows(self._gaussians.params)
        if not rows:
            return
        is_older = self.losses.first_non_finite() is not None
        if is_older or has_non_finite_moments(self._gaussians.optimizers):
            raise self._divergence(step)
        name, count = next(iter(rows.items()))
        raise self._adapter.blame_for(
            f"'{name}' is not finite in {count} of {self._gaussians.num} Gaussians",
            f"after {_HOOK}",
            step,
            NonFiniteError,
        )

    def check_gradients(self, step: int, summed: int) -> None:
        """Refuses a hook that dropped the gradients of `summed` steps with the parameters that it
        replaced.
        """
        if self._gaussians.params["means"].grad is None:
            raise self._adapter.blame_for(
                f"the gradients of {summed} steps, which were still to be summed with others,"
                " were lost with the parameters that were replaced; use the operations of"
                " gs_densify.strategies.ops, or change Gaussians after an update only"
                " (update_every)",
                _HOOK,
                step,
            )

    def _divergence(self, step: int) -> GsDensifyError:
        first = self.losses.first_non_finite()
        own = None if first is None else first[1].get(OWN_TERM)
        if first is not None and own is not None and own - own != 0:
            return self._adapter.blame_for(
                f"gave {own}, no finite loss", "regularization", first[0]
            )
        return divergence_error(
            step, self._gaussians.params, self._gaussians.optimizers, self.losses
        )
