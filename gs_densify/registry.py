"""Parts of the program that can be had by name, without importing any before it is asked for.

A kind of part (terms of the loss, formats of a model, ...) is a table of the built-in ones and an
entry-point group, in which an installed package announces its own as `name = "module:Name"`.
Standard library only.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, Generic, TypeVar

from gs_densify.errors import ConfigError


@dataclass(frozen=True)
class Entry:
    """Says where a part is, and what it does in one line."""

    target: str
    """`module:Name`."""
    summary: str


E = TypeVar("E", bound=Entry)


@dataclass
class Registry(Generic[E]):
    """The parts of one kind."""

    kind: str
    """What one of them is called in messages."""
    group: str
    """The entry-point group of further ones."""
    builtin: Mapping[str, E]
    _offered: dict[str, metadata.EntryPoint] | None = field(default=None, init=False)

    def names(self) -> list[str]:
        """Returns the built-in names, then those that installed packages offer."""
        return [*self.builtin, *sorted(set(self.offered()) - set(self.builtin))]

    def offered(self) -> dict[str, metadata.EntryPoint]:
        """Returns what installed packages offer, by name."""
        if self._offered is None:
            self._offered = {one.name: one for one in metadata.entry_points(group=self.group)}
        return self._offered

    def require(self, names: Sequence[str], option: str) -> None:
        """Refuses a name that there is not, or that stands twice, as a value of `option`."""
        for position, name in enumerate(names):
            if name not in self.names():
                raise ConfigError(
                    f"{option} has '{name}'; known: {', '.join(self.names()) or 'none'}"
                )
            if name in names[:position]:
                raise ConfigError(f"{option} has '{name}' twice; once is enough")

    def load(self, name: str) -> Any:
        """Imports and returns the part called `name`.

        Raises:
            ConfigError: there is none of this name, or it cannot be imported.
        """
        if name in self.builtin:
            module, _, attribute = self.builtin[name].target.partition(":")
            return getattr(importlib.import_module(module), attribute)
        offered = self.offered().get(name)
        if offered is None:
            raise ConfigError(
                f"there is no {self.kind} '{name}'; known: {', '.join(self.names()) or 'none'}"
            )
        try:
            return offered.load()
        except Exception as error:
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"{self.kind} '{name}' ({offered.value}) cannot be imported:"
                f" {type(error).__name__}: {reason}; mend or uninstall its package"
            ) from error
