"""The options of a form: a dataclass whose fields are those of a command, some in groups.

tyro builds the form; what is written here of an option is what help and complaints need.
"""

import ast
import dataclasses
import inspect
import textwrap
import typing
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Annotated, Any

import tyro


@dataclasses.dataclass(frozen=True)
class Option:
    """What a command line can say."""

    names: tuple[str, ...]
    """Its flags, the field's own first; of a positional the field's name alone."""
    hint: Any
    default: Any
    group: str
    """Dotted name of its group; empty for an option of none."""
    owner: type
    """The dataclass that has the field."""
    is_positional: bool = False
    is_required: bool = False
    """Whether the field has no default."""
    has_pair: bool = True
    """Of a flag without a value: whether it has an opposite, too."""
    given_text: str | None = None

    @property
    def is_flag(self) -> bool:
        """Returns whether it takes no value."""
        return self.hint is bool and not self.is_positional

    @property
    def flags(self) -> tuple[str, ...]:
        """Returns the ways to give it, opposites after their flags."""
        if not self.is_flag:
            return self.names
        if not self.has_pair:
            return tuple(map(_opposite, self.names)) if self.default is True else self.names
        return tuple(flag for name in self.names for flag in (name, _opposite(name)))

    @property
    def field(self) -> str:
        """Returns the name of the field."""
        return self.names[0].lstrip("-").rpartition(".")[2].replace("-", "_")

    @property
    def text(self) -> str:
        """Returns what it does: its help, or the text below the field, as one line."""
        if self.given_text is not None:
            return self.given_text
        return field_docstrings(self.owner).get(self.field, "")


def _opposite(flag: str) -> str:
    group, dot, name = flag[2:].rpartition(".")
    return f"--{group}{dot}no-{name}"


def options_in(form: type, default: Any = None, *, markers: Sequence[Any] = ()) -> list[Option]:
    """Returns the options of a form, groups after those that stand above them.

    Args:
        form: a dataclass, whose fields of dataclasses are groups.
        default: an instance of it, which has the defaults; None: those of the fields.
        markers: of `tyro.conf`, for all options.
    """
    return sorted(_walk(form, default, "", tuple(markers)), key=lambda option: option.group != "")


def _walk(form: type, instance: Any, group: str, markers: tuple[Any, ...]) -> Iterator[Option]:
    hints = typing.get_type_hints(form, include_extras=True)
    for field in dataclasses.fields(form):
        hint, extras = _unwrapped(hints[field.name])
        extras = (*extras, *markers)
        if not field.init or tyro.conf.Suppress in extras:
            continue
        settings = next((one for one in extras if hasattr(one, "aliases")), None)
        name = field.name if settings is None or settings.name is None else settings.name
        value = _default_of(field) if instance is None else getattr(instance, field.name)
        if dataclasses.is_dataclass(hint):
            inner = ".".join(part for part in (group, name) if part)
            yield from _walk(typing.cast(type, hint), value, inner, markers)
            continue
        if tyro.conf.UseAppendAction in extras:
            hint = typing.get_args(hint)[0]
        is_positional = tyro.conf.Positional in extras
        aliases = tuple(getattr(settings, "aliases", None) or ())
        flag = "--" + ".".join(part for part in (group, name) if part).replace("_", "-")
        text = getattr(settings, "help", None)
        yield Option(
            names=(field.name,) if is_positional else (flag, *aliases),
            hint=hint,
            default=value,
            group=group,
            owner=form,
            is_positional=is_positional,
            is_required=_default_of(field) is dataclasses.MISSING,
            has_pair=tyro.conf.FlagCreatePairsOff not in extras,
            given_text=None if text is None else " ".join(text.split()),
        )


def _unwrapped(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    if typing.get_origin(hint) is Annotated:
        return hint.__origin__, hint.__metadata__
    return hint, ()


def _default_of(field: "dataclasses.Field[Any]") -> Any:
    factory: Callable[[], Any] | Any = field.default_factory
    return field.default if factory is dataclasses.MISSING else factory()


def summary_of(form: type) -> str:
    """Returns the first paragraph of a class's text, as one line; empty where it has none."""
    return next(iter(paragraphs_of(form)), "")


def paragraphs_of(form: type) -> list[str]:
    """Returns the paragraphs of a class's text, or of that of the next base, as one line each."""
    texts = ((one.__name__, inspect.cleandoc(one.__doc__ or "")) for one in form.__mro__[:-1])
    # Dataclasses write their fields where there is none.
    own = (text for name, text in texts if text and not text.startswith(f"{name}("))
    text = next(own, "")
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n") if paragraph.strip()]


@lru_cache(maxsize=64)
def field_docstrings(cls: type) -> dict[str, str]:
    """Returns the text below each field of a dataclass and of its bases, as one line each."""
    texts: dict[str, str] = {}
    for one in reversed(cls.__mro__):
        if dataclasses.is_dataclass(one):
            texts |= _own_docstrings(one)
    return texts


def _own_docstrings(cls: type) -> dict[str, str]:
    try:
        source = textwrap.dedent(inspect.getsource(cls))
    except (OSError, TypeError):  # made at run time
        return {}
    definition = ast.parse(source).body[0]
    assert isinstance(definition, ast.ClassDef)
    texts = {}
    for field, text in zip(definition.body, definition.body[1:], strict=False):
        is_text = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
        if is_text and isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            texts[field.target.id] = " ".join(str(text.value.value).split())  # type: ignore
    return texts
