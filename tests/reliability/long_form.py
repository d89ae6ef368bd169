"""How many cases the long forms of these tests try."""

import os


def cases(variable: str, default: int) -> int:
    """Returns what an environment variable asks for."""
    return int(os.environ.get(variable, default))
