"""gs_densify: train 3D Gaussian Splatting under a pluggable densification strategy.

From Python: `train`, `evaluate` and `load` (docs/python.md). They are imported when they are used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gs_densify.api import evaluate, load, train

__all__ = ["evaluate", "load", "train"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Imports what is used of the interface for programs."""
    if name not in __all__:
        raise AttributeError(f"module 'gs_densify' has no attribute '{name}'")
    return getattr(import_module("gs_densify.api"), name)


def __dir__() -> list[str]:
    """Returns the names, those that are still to be imported as well."""
    return sorted({*globals(), *__all__})
