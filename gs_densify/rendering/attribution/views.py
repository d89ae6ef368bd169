"""An `info` about views of which this process has rendered a part.

Attribution and the strategies' statistics work on that part, and bring together what they found.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class SharedViews(Protocol):
    """What is asked of it, by all processes alike."""

    own: Mapping[str, Any]
    """What a rasteriser left of this process's views."""

    def __getitem__(self, name: str) -> Any:
        """Returns an entry, about all views."""
        ...

    @property
    def is_idle(self) -> bool:
        """Returns whether `own` is of a view that counts for nothing."""
        ...

    def is_unread(self, *names: str) -> bool:
        """Returns whether nobody has seen these entries about all views, nor written them."""
        ...

    def summed(self, values: Tensor) -> Tensor:
        """Returns the sums of tensors of one shape over all processes; `values` become them."""
        ...

    def maxima(self, values: Tensor) -> Tensor:
        """Returns their largest values, likewise."""
        ...

    def of_own(self, rows: Tensor) -> Tensor:
        """Returns those rows [C, ...] of all views that are of the views in `own`."""
        ...

    def joined(self, rows: Tensor) -> Tensor:
        """Returns rows of all views [C, ...] from those of the views in `own`."""
        ...
