"""Says what became infinite or NaN while training, where it was first seen, and under which rates.

Ordinary steps do not wait for the GPU, so that values are looked at where figures are logged and
where the number of Gaussians changed. The losses of the steps since then are kept as tensors: they
tell at which step it began, and whether the training or the strategy is to blame.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim import Optimizer

from gs_densify.errors import DivergenceError
from gs_densify.model.types import Splats

OWN_TERM = "strategy"
"""The name of the loss term that a strategy adds."""


class LossHistory:
    """Holds the terms of the loss, with their sum, of the steps since the last check."""

    def __init__(self) -> None:
        self._steps: list[tuple[int, dict[str, Tensor]]] = []

    def append(self, step: int, terms: dict[str, Tensor]) -> None:
        """Keeps the terms of the loss at `step`, each a tensor []."""
        self._steps.append((step, terms))

    def clear(self) -> None:
        """Forgets all steps, which were finite."""
        self._steps.clear()

    def ends(self) -> str:
        """Returns the losses of the first and the last step, in words."""
        ends = self._steps[:: max(1, len(self._steps) - 1)]
        return ", ".join(f"{float(terms['loss']):.3g} at step {step}" for step, terms in ends)

    def first_non_finite(self) -> tuple[int, dict[str, float]] | None:
        """Returns the first step of which a term is infinite or NaN, and its terms; else None.

        It waits for the GPU once where all are finite.
        """
        if self._are_finite():
            return None
        for step, terms in self._steps:
            values = {name: float(value) for name, value in terms.items()}
            if not all(map(_is_finite, values.values())):
                return step, values
        return None

    def _are_finite(self) -> bool:
        values = [value for _, terms in self._steps for value in terms.values()]
        if not values:
            return True
        device = values[-1].device  # of the sum; a strategy's own term may lie elsewhere
        joined = torch.cat([value.reshape(1).to(device) for value in values])
        return bool(joined.isfinite().all())


def non_finite_rows(params: Splats) -> dict[str, int]:
    """Returns how many rows of each parameter [N,...] hold an infinity or NaN, where any do."""
    found = {}
    for name, value in params.items():
        if not _all_finite(value):
            found[name] = int((~torch.isfinite(value)).reshape(len(value), -1).any(1).sum())
    return found


def has_non_finite_moments(optimizers: Mapping[str, Optimizer]) -> bool:
    """Returns whether the state of an optimiser holds an infinity or NaN: a gradient had one."""
    return any(
        isinstance(entry, Tensor) and not _all_finite(entry)
        for optimizer in optimizers.values()
        for entries in optimizer.state.values()
        for entry in entries.values()
    )


def _all_finite(values: Tensor) -> bool:
    """Returns whether there is no infinity or NaN, without a further tensor of the size."""
    if values.numel() == 0:
        return True
    return bool(torch.stack(torch.aminmax(values.detach())).isfinite().all())


def divergence_error(
    step: int,
    params: Splats,
    optimizers: Mapping[str, Optimizer],
    losses: LossHistory,
) -> DivergenceError:
    """Returns the error for a training that was found to have diverged after `step`."""
    first = losses.first_non_finite()
    rows, count = non_finite_rows(params), len(params["means"])
    parts = [f"'{name}' is not finite in {n} of {count} Gaussians" for name, n in rows.items()]
    if first is None:
        parts.append(f"the loss was {losses.ends()}")
    else:
        terms = ", ".join(f"{name} {value:.3g}" for name, value in first[1].items())
        parts.insert(0, f"the loss was not finite at step {first[0]} first ({terms})")
    rates = ", ".join(f"{name} {rate:.3g}" for name, rate in _rates(optimizers).items())
    return DivergenceError(
        f"training diverged, seen after step {step}: {'; '.join(parts)}; the learning rates were"
        f" {rates}",
        action="lower the largest (--lr.NAME), or a weight of the loss (--loss.NAME)",
    )


def _rates(optimizers: Mapping[str, Optimizer]) -> dict[str, float]:
    return {name: one.param_groups[0]["lr"] for name, one in optimizers.items()}


def _is_finite(value: float) -> bool:
    return value - value == 0
