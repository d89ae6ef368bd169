"""What the number of a step decides: which others join it, how it is rendered, when to update.

A strategy may have a say in each of these.
"""

from gs_densify.config.options import TrainConfig
from gs_densify.strategies.adapter import StrategyAdapter
from gs_densify.training.resolution import ResolutionSchedule


class Schedule:
    """The steps of a run."""

    def __init__(
        self,
        config: TrainConfig,
        adapter: StrategyAdapter,
        resolution: ResolutionSchedule,
        *,
        first_sh_degree: int = 0,
    ) -> None:
        """Takes the SH degree that the first step has at least."""
        self._config, self._adapter, self._resolution = config, adapter, resolution
        self._first_sh_degree = min(first_sh_degree, config.init.sh_degree)
        factor = config.schedule_factor or 1.0
        self._sh_degree_every = max(1, round(config.render.sh_degree_every * factor))

    def room(self, step: int, until: int) -> int:
        """Returns the number of steps before the next line of figures, or before `until`."""
        every = self._config.log_every
        return min(until, step - step % every + every) - step

    def num_joined(self, step: int, room: int, summed: int) -> int:
        """Returns how many steps from `step` on are rendered in one call, `room` at most.

        All of them see one SH degree and photos of one size, and none lies beyond the update that
        sums the gradients of `summed` steps before `step` with theirs.
        """
        count = min(room, self._adapter.steps_together(step, summed))
        if count == 1:
            return 1
        first = self.sh_degree(step), self.reduction(step)
        for later in range(step + 1, step + count):
            if (self.sh_degree(later), self.reduction(later)) != first:
                return later - step
        return count

    def is_update(self, step: int, count: int, summed: int) -> bool:
        """Returns whether the optimisers step after `count` steps from `step` on.

        They do where as many gradients are summed as the strategy wants, and at the last step.
        """
        last = step + count - 1
        wanted = self._adapter.update_every(last)
        return summed + count >= wanted or last + 1 == self._config.length

    def sh_degree(self, step: int) -> int:
        """Returns the SH degree: one more at each interval, unless the strategy has its own."""
        highest = self._config.init.sh_degree
        scheduled = min(highest, step // self._sh_degree_every)
        scheduled = max(scheduled, self._first_sh_degree)
        return self._adapter.sh_degree(step, scheduled, highest=highest)

    def reduction(self, step: int) -> int:
        """Returns the whole number by which photos are reduced; 1: full size."""
        return self._resolution.reduction(step)
