"""The learning rates of the Gaussians' optimisers, from the first step to the last."""

from gs_densify.config.options import TrainConfig
from gs_densify.model import init as model
from gs_densify.model.gaussians import Optimizers, Params


def make_optimizers(params: Params, config: TrainConfig, *, scene_scale: float) -> Optimizers:
    """Returns an optimiser for each parameter with its first rate; means move by `scene_scale`."""
    rates = {name: getattr(config.lr, name) for name in model.NAMES}
    rates["means"] *= scene_scale
    return model.create_optimizers(
        params, rates, batch_size=config.batch_size, weight_decay=config.lr.weight_decay
    )


class Rates:
    """The rates of optimisers over `steps` steps."""

    def __init__(
        self, optimizers: Optimizers, *, steps: int, means_final: float, others_final: float
    ) -> None:
        """Takes optimisers with their first rates, and what share of the means' rate and of the
        others is left at the end.
        """
        self._optimizers, self._steps = optimizers, steps
        self._means_final, self._others_final = means_final, others_final
        self._initial = {name: one.param_groups[0]["lr"] for name, one in optimizers.items()}

    @property
    def means(self) -> float:
        """Returns the present rate of the means."""
        return self._optimizers["means"].param_groups[0]["lr"]

    def set(self, step: int) -> float:
        """Sets the rates of `step` of the schedule, and returns the means'."""
        means = means_lr(self._initial["means"], self._means_final, step, self._steps)
        self._optimizers["means"].param_groups[0]["lr"] = means
        if self._others_final < 1:  # else a strategy's own changes of a rate stay
            for name in self._initial.keys() - {"means"}:
                late = late_lr(self._initial[name], self._others_final, step, self._steps)
                self._optimizers[name].param_groups[0]["lr"] = late
        return means


def means_lr(initial: float, final_share: float, step: int, steps: int) -> float:
    """Returns the exponential decay from `initial` at step 0 to its `final_share` after `steps`."""
    return initial * final_share ** (step / steps)


def late_lr(initial: float, final_share: float, step: int, steps: int) -> float:
    """Returns `initial` until half of `steps`, then its decay to `final_share` after `steps`."""
    return initial * final_share ** max(0.0, 2 * step / steps - 1)
