"""What changes with the step: the means' learning rate and the SH degree."""


def means_lr(initial: float, final_share: float, step: int, steps: int) -> float:
    """Returns the exponential decay from `initial` at step 0 to its `final_share` after `steps`."""
    return initial * final_share ** (step / steps)


def sh_degree(step: int, *, every: int, highest: int) -> int:
    """Returns 0 at first, one more every `every` steps, up to `highest`."""
    return min(highest, step // every)
