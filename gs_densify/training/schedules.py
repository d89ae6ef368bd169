"""Which SH degree a step is rendered with."""


def sh_degree(step: int, *, every: int, highest: int) -> int:
    """Returns 0 at first, one more every `every` steps, up to `highest`."""
    return min(highest, step // every)
