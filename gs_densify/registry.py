"""Parts of the program that can be had by name, without importing any before it is asked for.

A kind of part (terms of the loss, formats of a model, ...) is a table of the built-in ones and an
entry-point group, in which an installed package announces its own as `name = "module:Name"`.
Standard library only.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from gs_densify.entry_points import entry_points, load_offered, refuse_clash
from gs_densify.errors import ConfigError
from gs_densify.near_names import known_or_meant


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

    def names(self) -> list[str]:
        """Returns the built-in names, then those that installed packages offer."""
        offered = {entry.name for entry in entry_points(self.group)}
        return [*self.builtin, *sorted(offered - set(self.builtin))]

    def require(self, names: Sequence[str], option: str) -> None:
        """Refuses a name that there is not, or that stands twice, as a value of `option`."""
        for position, name in enumerate(names):
            if name not in self.names():
                raise ConfigError(
                    f"has '{name}'", expected=known_or_meant(name, self.names()), option=option
                )
            if name in names[:position]:
                raise ConfigError(f"has '{name}' twice", action="once is enough", option=option)

    def load(self, name: str) -> Any:
        """Imports and returns the part called `name`.

        Raises:
            ConfigError: there is none of this name, or it cannot be imported.
        """
        if name in self.builtin:
            refuse_clash(self.group, self.kind, name)
            module, _, attribute = self.builtin[name].target.partition(":")
            return getattr(importlib.import_module(module), attribute)
        offered = load_offered(self.group, self.kind, name)
        if offered is None:
            raise ConfigError(
                f"there is no {self.kind} '{name}'", expected=known_or_meant(name, self.names())
            )
        return offered[0]
