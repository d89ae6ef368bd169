"""What changes with the step: learning rates and the SH degree."""


def means_lr(initial: float, final_share: float, step: int, steps: int) -> float:
    """Returns the exponential decay from `initial` at step 0 to its `final_share` after `steps`."""
    return initial * final_share ** (step / steps)


def late_lr(initial: float, final_share: float, step: int, steps: int) -> float:
    """Returns `initial` until half of `steps`, then its decay to `final_share` after `steps`."""
    return initial * final_share ** max(0.0, 2 * step / steps - 1)


def sh_degree(step: int, *, every: int, highest: int) -> int:
    """Returns 0 at first, one more every `every` steps, up to `highest`."""
    return min(highest, step // every)
