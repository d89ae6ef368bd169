"""Command-line flags through tyro, whose boxed complaints become errors of one line."""

import contextlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from gs_densify.errors import ConfigError
from gs_densify.home import expanded

T = TypeVar("T")

_BOX = "│╭╮╰╯─"


_TYPES = ConstructorRegistry()


@_TYPES.primitive_rule
def _path(kind: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """Reads ~ in paths, which shells leave in --out=~/x, and files have."""
    if kind.type is not Path:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=lambda words: expanded(words[0]),
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda path: [str(path)],
    )


def one_line(text: str) -> str:
    """Returns `text` with every run of white space as one blank."""
    return " ".join(text.split())


def parse(form: Callable[..., T] | Any, argv: Sequence[str], *, program: str, **options: Any) -> T:
    """Calls `tyro.cli`, whose complaint becomes a ConfigError of one line."""
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(form, args=list(argv), prog=program, registry=_TYPES, **options)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise ConfigError(_unboxed(complaint.getvalue(), program)) from None


def _unboxed(text: str, program: str) -> str:
    lines = [line.strip(_BOX + " ") for line in text.splitlines()]
    wanted = [line for line in lines[1:] if line and not line.startswith("For full helptext")]
    wanted = [line for line in wanted if line != f"{program} --help"]
    # Help texts of the options concerned follow the complaint; the first paragraph says it.
    return one_line(" ".join(wanted)) + f" (see {program} --help)"
