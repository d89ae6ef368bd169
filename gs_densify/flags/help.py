"""Help: what a command does, and its options, in a column for names and one for what they do."""

import dataclasses
import re
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gs_densify.flags.forms import Option, paragraphs_of, summary_of
from gs_densify.flags.values import choices_of, is_sequence, least_words, parts_of, types_in

_WIDEST = 120
_INDENT = "  "
_COLUMN = 29
"""Width of the names' column; text after a longer name begins in the next line."""
_LONGEST_CHOICES = 15
_END_OF_SENTENCE = re.compile(r"(?<=[.;])\s")
_ALWAYS = (
    ("-h, --help", "show this and exit"),
    ("--help-all", "show everything, and exit"),
    ("--version", "show the version and exit"),
)


@dataclasses.dataclass(frozen=True)
class Page:
    """What the help of a command shows beside its options."""

    program: str
    form: type
    common: Sequence[str] = ()
    """Flags of the options that plain help shows, with a sentence each; empty: it shows all."""
    whole_groups: Sequence[str] = ()
    """Groups that plain help shows, too."""
    table: tuple[str, Sequence[tuple[str, str]]] | None = None
    """A heading, and names with what they are, to follow the options."""


def help_text(page: Page, options: Sequence[Option], *, in_full: bool) -> str:
    """Returns the help of a command, as wide as the terminal.

    Args:
        page: what it shows.
        options: of the command, all of them.
        in_full: whether everything is wanted: all options, with their whole texts and all names.
    """
    is_short = bool(page.common) and not in_full
    positionals = [one for one in options if one.is_positional]
    named = [one for one in options if not one.is_positional]
    lines = [_usage(page.program, positionals)]
    for paragraph in paragraphs_of(page.form):
        lines += ["", *_filled(paragraph)]
    if positionals:
        lines.append("")
        lines += _rows((_name(one), _full_text(one)) for one in positionals)
    groups = dict.fromkeys(["", *(one.group for one in named)])
    if is_short:
        by_flag = {flag: option for option in named for flag in option.names}
        common = [by_flag[flag] for flag in page.common]
        lines += ["", "options:", *_rows((_name(one), _short_text(one)) for one in common)]
        lines += _rows(_ALWAYS)
        groups = dict.fromkeys(group for group in page.whole_groups if group in groups)
    for group in groups:
        members = [one for one in named if one.group == group]
        lines += ["", *_heading(group, members)]
        lines += _rows((_name(one, all_names=in_full), _full_text(one)) for one in members)
        lines += [] if group else _rows(_ALWAYS)
    if page.table is not None:
        heading, rows = page.table
        lines += ["", *_filled(heading), *_table(rows)]
    if is_short:
        lines += ["", *_filled(f"{page.program} --help-all: all {len(options)} options")]
    return "\n".join(lines)


def commands_text(program: str, description: str, commands: Mapping[str, type]) -> str:
    """Returns the help of a program that has commands of its own."""
    rows = [(name, summary_of(form)) for name, form in commands.items()]
    lines = [f"usage: {program} COMMAND [OPTIONS]", "", *_filled(description), "", "commands:"]
    lines += [*_table(rows), "", "options:", *_rows(_ALWAYS)]
    return "\n".join([*lines, "", *_filled(f"{program} COMMAND --help: the options of one")])


def _usage(program: str, positionals: Sequence[Option]) -> str:
    return " ".join([f"usage: {program} [OPTIONS]", *map(_name, positionals)])


def _heading(group: str, members: Sequence[Option]) -> list[str]:
    if not group:
        return ["options:"]
    summary = summary_of(members[0].owner)
    return _filled(f"{group}: {summary}" if summary else f"{group}:")


def _name(option: Option, *, all_names: bool = False) -> str:
    """Returns an option with what it takes."""
    if option.is_positional:
        name = option.field.upper()
        many = f"{name}..." if any(map(is_sequence, parts_of(option.hint))) else name
        return many if option.is_required and least_words(option.hint) else f"[{many}]"
    if option.is_flag:
        return ", ".join(option.flags) if all_names else min(option.flags, key=len)
    names = ", ".join(option.names) if all_names else min(option.names, key=len)
    return f"{names} {_value(option.hint)}"


def _value(hint: Any) -> str:
    """Returns what stands for a value."""
    parts = [part for part in parts_of(hint) if part is not type(None)]
    return "|".join(map(_value_of_one, parts))


def _value_of_one(hint: Any) -> str:
    if is_sequence(hint):
        inner, count = [_value(one) for one in types_in(hint)], least_words(hint)
        return " ".join(inner) if count else f"{inner[0]}..."
    choices = choices_of(hint)
    if choices is not None:
        listed = "|".join(choices)
        return listed if len(listed) <= _LONGEST_CHOICES else "NAME"
    kinds: dict[Any, str] = {int: "INT", float: "FLOAT", Path: "PATH"}
    return kinds.get(hint, "TEXT")


def _full_text(option: Option) -> str:
    parts = [option.text, *_unsaid_choices(option), *_default(option)]
    return " ".join(part for part in parts if part)


def _short_text(option: Option) -> str:
    sentence = _END_OF_SENTENCE.split(option.text, maxsplit=1)[0].rstrip(".;")
    return " ".join([sentence, *_default(dataclasses.replace(option, given_text=sentence))])


def _unsaid_choices(option: Option) -> Iterator[str]:
    """Yields the choices that neither the name nor the text has."""
    for part in parts_of(option.hint):
        items = types_in(part) if is_sequence(part) else (part,)
        choices = [choice for item in items for choice in choices_of(item) or () if item]
        if part is not type(None) and "NAME" in _value(part):
            unsaid = [one for one in choices if one not in option.text]
            if unsaid:
                yield f"Known: {', '.join(choices)}."


def _default(option: Option) -> Iterator[str]:
    """Yields the default, where there is one that the text does not say."""
    if option.is_required and not option.is_positional:
        yield "(required)"
        return
    value = option.default
    is_said = value in (None, (), [], dataclasses.MISSING, "") or "default" in option.text
    if is_said or option.is_positional or (option.is_flag and not (value and option.has_pair)):
        return
    items = value if isinstance(value, tuple | list) else (value,)
    text = "on" if value is True else " ".join(map(str, items))
    yield f"(default: {text})"


def _rows(rows: Iterable[tuple[str, str]], column: int = _COLUMN) -> list[str]:
    lines: list[str] = []
    for name, text in rows:
        head = f"{_INDENT}{name}"
        if len(head) >= column:
            lines += [*_filled(name, _INDENT), *_filled(text, " " * column)]
        else:
            lines += _filled(text, " " * column, head.ljust(column)) or [head]
    return lines


def _table(rows: Sequence[tuple[str, str]]) -> list[str]:
    return _rows(rows, max(len(name) for name, _ in rows) + 2 * len(_INDENT))


def _filled(text: str, indent: str = "", first: str | None = None) -> list[str]:
    """Returns a paragraph in lines as wide as the terminal, the first after `first`."""
    width = min(shutil.get_terminal_size().columns, _WIDEST) - 1
    return textwrap.wrap(
        text,
        max(width, len(indent) + 20),
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
