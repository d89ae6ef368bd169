"""Command lines as forms, through tyro; what is said of them is said here."""

import contextlib
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from gs_densify import __version__
from gs_densify.errors import ConfigError
from gs_densify.flags.check import ALL, HELP, VERSION, check, check_known, normal, unknown
from gs_densify.flags.forms import options_in
from gs_densify.flags.help import Page, commands_text, help_text
from gs_densify.flags.values import number, whole_number
from gs_densify.home import expanded
from gs_densify.near_names import did_you_mean

T = TypeVar("T")

_TYPES = ConstructorRegistry()


def _register(kind: type, metavar: str, read: Callable[[str], Any]) -> None:
    """Makes tyro read values of a type by `read`."""

    @_TYPES.primitive_rule
    def _rule(found: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
        if found.type is not kind:
            return None
        return PrimitiveConstructorSpec(
            nargs=1,
            metavar=metavar,
            instance_from_str=lambda words: read(words[0]),
            is_instance=lambda value: isinstance(value, kind),
            str_from_instance=lambda value: [str(value)],
        )


_register(Path, "PATH", expanded)
_register(int, "INT", whole_number)
_register(float, "FLOAT", number)


def one_line(text: str) -> str:
    """Returns `text` with every run of white space as one blank."""
    return " ".join(text.split())


def asks_for_help(argv: Sequence[str]) -> bool:
    """Returns whether help is among the arguments."""
    return bool({*HELP, ALL} & {*map(normal, argv)})


def parse(
    form: type[T] | Any,
    argv: Sequence[str],
    *,
    program: str,
    page: Page | None = None,
    stray: str = "",
    default: Any = None,
    markers: Sequence[Any] = (),
) -> T:
    """Returns the form with what a command line says; shows help or the version and exits.

    Args:
        form: a dataclass, whose fields are the options.
        argv: the words after the program's name.
        program: its name, for messages.
        page: what help shows; None: the form's text and all options.
        stray: what to do with a word that belongs to no option, `{word}` being it.
        default: an instance of the form, which has the defaults; None: those of the fields.
        markers: of `tyro.conf`, for all options.

    Raises:
        ConfigError: an option that there is not, or a value that one does not take.
    """
    _show_version(argv, program)
    options = options_in(form, default, markers=markers)
    if asks_for_help(argv):
        print(help_text(page or Page(program, form), options, in_full=ALL in map(normal, argv)))
        raise SystemExit(0)
    check(options, argv, program, stray=stray)
    parsed, others = _by_tyro(form, argv, program, default, markers)
    if others:
        raise unknown(others[0], options, program)
    return parsed


def parse_known(form: type[T], argv: Sequence[str], *, program: str) -> tuple[T, list[str]]:
    """Returns a form of some options, read among others, and the words of the others."""
    _show_version(argv, program)
    check_known(options_in(form), argv)
    return _by_tyro(form, argv, program, None, ())


def parse_command(
    commands: Mapping[str, type], argv: Sequence[str], *, program: str, description: str
) -> Any:
    """Returns the form of the command that the first word names, with the rest of the words."""
    _show_version(argv, program)
    name = argv[0] if argv else ""
    if name in commands:
        return parse(commands[name], argv[1:], program=f"{program} {name}")
    if asks_for_help(argv):
        print(commands_text(program, description, commands))
        raise SystemExit(0)
    known = ", ".join(commands)
    raise ConfigError(
        f"there is no command {name!r}" if name else "no command given",
        action=did_you_mean(name, commands) or f"there are {known} ({program} --help)",
    )


def _show_version(argv: Sequence[str], program: str) -> None:
    if VERSION in argv:
        print(f"{program.partition(' ')[0]} {__version__}")
        raise SystemExit(0)


def _by_tyro(
    form: Any, argv: Sequence[str], program: str, default: Any, markers: Sequence[Any]
) -> tuple[Any, list[str]]:
    """Returns what tyro makes of the words, and those that it does not know."""
    complaint = io.StringIO()
    given = {} if default is None else {"default": default}
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(
                form,
                args=list(argv),
                prog=program,
                registry=_TYPES,
                add_help=False,
                return_unknown_args=True,
                config=tuple(markers),
                **given,
            )
    except SystemExit:
        # Nothing that `check` lets pass is known to come here.
        raise ConfigError(_unboxed(complaint.getvalue())) from None


def _unboxed(text: str) -> str:
    """Returns the words of a complaint without its box."""
    return one_line(" ".join(line.strip("│╭╮╰╯─ ") for line in text.splitlines()))
