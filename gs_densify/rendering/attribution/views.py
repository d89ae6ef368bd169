"""An `info` about views of which this process has rendered a part.

Attribution and the strategies' statistics work on that part, and bring together what they found.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor


class SharedViews(Mapping[str, Any]):
    """Entries about all views; all processes ask the same of it.

    No protocol: every step asks whether its `info` is one, and to see that a dictionary has not the
    members of a protocol takes longer than much of what a step does.
    """

    own: Mapping[str, Any]
    """What a rasteriser left of this process's views."""
    joined: Callable[[Tensor], Tensor]
    """Returns rows of all views [C, ...] from those of the views in `own`."""
    summed: Callable[[Tensor], Tensor]
    """Returns the sums of tensors of one shape over all processes; what it takes becomes them."""
    maxima: Callable[[Tensor], Tensor]
    """Returns their largest values, likewise."""

    @property
    @abstractmethod
    def is_idle(self) -> bool:
        """Returns whether `own` is of a view that counts for nothing."""

    @abstractmethod
    def is_unread(self, *names: str) -> bool:
        """Returns whether nobody has seen these entries about all views, nor written them."""

    @abstractmethod
    def of_own(self, rows: Tensor) -> Tensor:
        """Returns those rows [C, ...] of all views that are of the views in `own`."""
