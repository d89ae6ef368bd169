"""Densification: the contract, the operations, the registry; one method a file in `methods/`.

Strategy files of users import from here. Modules that have moved are found under their former names
too, as the same module, so that such files go on running.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_METHODS = "absgs adaptive default edc mcmc mini_splatting new_split taming".split()
_MOVED = {
    **{f"{__name__}.{name}": f"{__name__}.methods.{name}" for name in _METHODS},
    f"{__name__}.births": f"{__name__}.splits",
}


class _FormerNames(MetaPathFinder, Loader):
    """Finds modules under the names that they had before they moved."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Returns a spec for a former name, None for any other."""
        return ModuleSpec(name, self) if name in _MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Returns the module under its present name, executed."""
        module = importlib.import_module(_MOVED[spec.name])
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Gives the module back its own spec, which the import system has replaced."""
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state


sys.meta_path.append(_FormerNames())
