"""An `info` about views of which this process has rendered a part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class SharedViews(Protocol):
    """What attribution needs of it: all processes ask the same."""

    own: Mapping[str, Any]
    """What a rasteriser left of this process's views."""

    def of_own(self, rows: Tensor) -> Tensor:
        """Returns those rows [C, ...] of all views that are of the views in `own`."""
        ...

    def joined(self, rows: Tensor) -> Tensor:
        """Returns rows of all views [C, ...] from those of the views in `own`."""
        ...
