"""The running statistics of a strategy, of which it is known which have a row for each Gaussian."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from gs_densify.errors import StrategyError


class State(dict[str, Any]):
    """Maps names to a strategy's statistics; operations move the rows of those per Gaussian.

    An entry is per Gaussian, or is not, for good: as the strategy declares it, or else, as gsplat's
    strategies declare nothing, by its length when an operation or the trainer sees it first.
    """

    def __init__(
        self, entries: Mapping[str, Any] | None = None, *, per_gaussian: Iterable[str] | None = None
    ) -> None:
        """Holds `entries`; where `per_gaussian` is given, no other entry has rows."""
        super().__init__(entries or {})
        self.is_declared = per_gaussian is not None
        self.with_rows = set(per_gaussian or ())
        self.without_rows: set[str] = set()

    def restore_rows(self, rows: Mapping[str, Any] | None) -> None:
        """Takes what `described` said of the entries; None: nothing is known of them."""
        rows = rows or {"is_declared": False, "with": (), "without": ()}
        self.is_declared = rows["is_declared"]
        self.with_rows, self.without_rows = set(rows["with"]), set(rows["without"])

    def described(self) -> dict[str, Any]:
        """Returns which entries have rows, as plain values for a checkpoint."""
        return {
            "is_declared": self.is_declared,
            "with": sorted(self.with_rows),
            "without": sorted(self.without_rows),
        }

    def declare(self, names: Iterable[str]) -> None:
        """Says that the entries `names` have a row for each Gaussian."""
        self.with_rows |= set(names)
        self.without_rows -= set(names)

    def rows(self, count: int) -> list[str]:
        """Returns the names of the tensors [N,...] with a row for each of `count` Gaussians.

        Raises:
            StrategyError: one of them has another number of rows.
        """
        self._settle(count)
        found = [name for name in self if name in self.with_rows and isinstance(self[name], Tensor)]
        for name in found:
            if self[name].shape[:1] != (count,):
                raise StrategyError(
                    f"statistic '{name}' has shape {tuple(self[name].shape)}, but {count} Gaussians"
                    " need a row each"
                )
        return found

    def _settle(self, count: int) -> None:
        """Decides by length for tensors that were not seen before; empty ones are placeholders."""
        if self.is_declared:
            return
        known = self.with_rows | self.without_rows
        for name, value in self.items():
            if name not in known and isinstance(value, Tensor) and value.numel() > 0:
                has_rows = value.dim() > 0 and len(value) == count
                (self.with_rows if has_rows else self.without_rows).add(name)


def rows_of(state: Mapping[str, Any], count: int) -> list[str]:
    """Returns the names of the entries of `state` that have a row for each of `count` Gaussians.

    A plain dictionary, as another trainer passes it, declares nothing: its tensors of `count` rows
    are taken.
    """
    if isinstance(state, State):
        return state.rows(count)
    return [
        name
        for name, value in state.items()
        if isinstance(value, Tensor) and value.dim() > 0 and len(value) == count
    ]


def may_have_rows(state: Mapping[str, Any], name: str) -> bool:
    """Returns whether the entry `name` is per Gaussian for all that is known."""
    if not isinstance(state, State):
        return True
    return name in state.with_rows or not (state.is_declared or name in state.without_rows)
