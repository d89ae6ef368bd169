"""A user's own strategy: a class in a Python file, or in an installed package's entry point.

A file is named by its path, `path/to/file.py` or `path/to/file.py:ClassName`; a package announces
`name = "module:ClassName"` in the entry-point group `gs_densify.strategies`. Everything that can
be wrong with either is said in one line before the run. Imports no torch.
"""

import dataclasses
import importlib.machinery
import importlib.util
import inspect
import sys
import traceback
import types
import typing
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from gs_densify.entry_points import described, load_offered, origin, refusing, staying
from gs_densify.errors import ConfigError
from gs_densify.home import expanded
from gs_densify.source import module_digest

GROUP = "gs_densify.strategies"
KIND = "strategy"
HOOK = "step_post_backward"
"""A class with this hook is a strategy."""

_PREFERRED = "CustomStrategy"
_PLAIN = (bool, int, float, str, Path, type(None))


class FileReference(NamedTuple):
    """A strategy's file, and its class where one was named."""

    path: Path
    class_name: str | None

    def __str__(self) -> str:
        """As `--strategy` takes it."""
        return f"{self.path}:{self.class_name}" if self.class_name else str(self.path)


def parse_reference(name: str) -> FileReference | None:
    """Returns what `path.py` or `path.py:ClassName` refers to; None for the name of a strategy."""
    head, colon, tail = name.rpartition(".py:")
    if colon:
        return FileReference(Path(f"{head}.py"), tail)
    return FileReference(Path(name), None) if name.endswith(".py") else None


def load_from_file(reference: FileReference) -> type:
    """Returns the strategy class in a file, checked."""
    path = expanded(reference.path)
    cls = _chosen_class(_loaded(path).module, path, reference.class_name)
    check_class(cls, f"strategy file {path}")
    return cls


def digest_of_file(reference: FileReference) -> str:
    """Returns the digest that a strategy's file, and what it imports from beside it, had when it
    was loaded.
    """
    return _loaded(expanded(reference.path)).digest


def load_from_package(name: str) -> type | None:
    """Returns the strategy class that an installed package offers as `name`, checked; None without
    one.
    """
    found = load_offered(GROUP, KIND, name)
    if found is None:
        return None
    cls, entry = found
    where = f"{KIND} '{name}' ({origin(entry)})"
    if not isinstance(cls, type):
        raise ConfigError(
            f"{where}: is no class", expected="the entry point must name a strategy's class"
        )
    check_class(cls, where)
    return cls


def check_class(cls: type, where: str) -> None:
    """Refuses a class that the trainer cannot configure, with `where` before the reason."""
    name = cls.__name__
    if not callable(getattr(cls, HOOK, None)):
        raise ConfigError(f"{where}: {name} has no method {HOOK}; it is no strategy")
    if not _is_dataclass_itself(cls):
        raise ConfigError(
            f"{where}: {name} is no dataclass, so its options cannot be known",
            action="put @dataclass above the class",
        )
    _check_options(cls, where)
    with refusing(f"{where}: {name}() fails"):
        cls()


def _is_dataclass_itself(cls: type) -> bool:
    """Returns whether its own fields are options: a subclass without any may leave out the
    decorator.
    """
    if not dataclasses.is_dataclass(cls):
        return False
    is_decorated = "__dataclass_fields__" in vars(cls)
    return is_decorated or not (inspect.get_annotations(cls) or "__init__" in vars(cls))


def _check_options(cls: type, where: str) -> None:
    with refusing(f"{where}: the types of {cls.__name__}'s fields are not known"):
        hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        option = f"{where}: option '{field.name}' of {cls.__name__}"
        if field.name == "name":
            raise ConfigError(
                f"{option} cannot be told from the strategy's name in a configuration",
                action="call it something else",
            )
        with refusing(f"{option}: its default fails"):
            default = _default(field)
        if default is dataclasses.MISSING:
            raise ConfigError(f"{option} has no default", action="give it one")
        if not (_is_plain_type(hints[field.name]) and is_plain(default)):
            raise ConfigError(
                f"{option} is no number, text, flag, path, or tuple of them",
                action="make it one, or declare it with field(init=False) and set it in"
                " __post_init__",
            )


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def is_plain(value: Any) -> bool:
    """Returns whether a value survives the way into a YAML file and back through a flag."""
    if type(value) in (tuple, list):
        return all(map(_is_single, value))
    return _is_single(value)


def _is_single(value: Any) -> bool:
    # Of no class derived from these, such as NumPy's numbers and enumerations: YAML has none.
    return type(value) in _PLAIN or isinstance(value, Path)


def _is_plain_type(hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _is_plain_type(arguments[0])
    if origin is typing.Literal:
        return all(isinstance(item, _PLAIN) for item in arguments)
    if origin in (typing.Union, types.UnionType):
        return all(_is_plain_type(item) for item in arguments)
    if origin in (tuple, list):
        return all(item is Ellipsis or item in _PLAIN for item in arguments)
    return hint in _PLAIN


class _FromSource(importlib.machinery.SourceFileLoader):
    """Compiles a file anew, and leaves no `__pycache__` beside it.

    Python takes what it finds there for the file's if their times agree in whole seconds, and the
    size: an edit that is quick enough would not be what runs.
    """

    def get_code(self, fullname: str) -> types.CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


class _Loaded(NamedTuple):
    module: types.ModuleType
    digest: str


def _loaded(path: Path) -> _Loaded:
    if not path.is_file():
        raise ConfigError(
            f"strategy file {path}: there is no such file (looked for {path.absolute()})",
            action="give the path of a Python file, or the name of a strategy (gs-strategies list)",
        )
    status, full = path.stat(), path.resolve()
    with staying(f"strategy file {path}"):
        try:
            return _execute(full, (status.st_mtime_ns, status.st_size))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise ConfigError(
                f"strategy file {path}, line {_line_of(error, full)}: cannot be imported:"
                f" {described(error)}"
            ) from error


@lru_cache(maxsize=32)
def _execute(path: Path, version: tuple[int, int]) -> _Loaded:
    """Returns the executed file; once for each version of it, so that its classes keep their
    identity.
    """
    del version
    # The folder is in the name: two files of one name must not replace one another.
    name = f"gs_densify_strategy_file_{path.stem}_{zlib.crc32(str(path).encode()):08x}"
    loader = _FromSource(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:
        # Modules beside the file can be imported, but do not hide installed ones.
        sys.path.append(str(path.parent))
    sys.modules[name] = module  # dataclasses look annotations up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return _Loaded(module, module_digest(path))


def _line_of(error: BaseException, path: Path) -> int | str:
    """Returns the line of the file at which importing it went wrong."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno or "?"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return lines[-1] if lines and lines[-1] is not None else "?"


def _chosen_class(module: types.ModuleType, path: Path, wanted: str | None) -> type:
    found = dict(_strategies_in(module))
    names = ", ".join(found) or "none"
    if wanted is not None:
        cls = getattr(module, wanted, None)
        if not isinstance(cls, type):
            raise ConfigError(
                f"strategy file {path}: has no class '{wanted}'",
                expected=f"its classes with {HOOK}: {names}",
            )
        return cls
    preferred = getattr(module, _PREFERRED, None)
    if isinstance(preferred, type):
        return preferred
    if len(found) == 1:
        return next(iter(found.values()))
    what = "several classes" if found else "no class"
    raise ConfigError(
        f"strategy file {path}: {what} with the method {HOOK} (found: {names})",
        action=f"call one {_PREFERRED}, or name it: {path}:ClassName",
    )


def _strategies_in(module: types.ModuleType) -> Iterator[tuple[str, type]]:
    """Classes with the hook that the file itself defines, in its order."""
    for name, value in vars(module).items():
        is_own = isinstance(value, type) and value.__module__ == module.__name__
        if is_own and callable(getattr(value, HOOK, None)):
            yield name, value
