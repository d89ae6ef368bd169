"""gs-strategies: what strategies there are, what each does, and whether one keeps the contract."""

import dataclasses
import inspect
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Annotated

import tyro

from gs_densify.cli.app import print_lines_of, run_command
from gs_densify.entry_points import entry_points
from gs_densify.flags.forms import field_docstrings
from gs_densify.flags.parse import parse_command
from gs_densify.strategies import plugin
from gs_densify.strategies.registry import (
    BUILTIN,
    known_names,
    load_strategy_class,
    options_of,
    recipe_of,
)

PROGRAM = "gs-strategies"

_MARKS = {True: "ok  ", False: "FAIL", None: "-   "}
_WIDTH = 100


@dataclasses.dataclass(frozen=True)
class List:
    """Every strategy by name, with a line on what it does."""

    def carry_out(self) -> int:
        """Prints the list."""
        names = known_names()
        width = max(map(len, names))
        offered = {entry.name: entry for entry in entry_points(plugin.GROUP)}
        for name in names:
            summary = BUILTIN[name].summary if name in BUILTIN else f"from {offered[name].value}"
            print(f"{name:{width}}  {summary}")
        return 0


@dataclasses.dataclass(frozen=True)
class Show:
    """What a strategy does, its options and its trainer settings."""

    name: Annotated[str, tyro.conf.Positional]
    """A strategy's name, or path/to/file.py, or path/to/file.py:ClassName."""

    def carry_out(self) -> int:
        """Prints the documentation."""
        cls = load_strategy_class(self.name)
        print(f"{self.name}: class {cls.__qualname__}\n")
        print(_documentation(cls))
        print("\nOptions, as --strategy.OPTION VALUE:")
        print("\n".join(_option_lines(cls)) or "  none")
        recipe = recipe_of(self.name, cls)
        print("\nRecipe, trainer settings in place of the defaults:")
        print("\n".join(f"  {name} = {value}" for name, value in recipe.items()) or "  none")
        return 0


@dataclasses.dataclass(frozen=True)
class Check:
    """Train a miniature scene under a strategy and check that it keeps the contract (CPU)."""

    name: Annotated[str, tyro.conf.Positional]
    """A strategy's name, or path/to/file.py, or path/to/file.py:ClassName."""
    debug: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Show the whole traceback of an error, not only the lines of a file of yours."""

    def carry_out(self) -> int:
        """Prints each check as it ends; 1 where one failed."""
        from gs_densify.check.battery import check_strategy

        counts: dict[bool | None, int] = dict.fromkeys(_MARKS, 0)
        for outcome in check_strategy(self.name):
            counts[outcome.passed] += 1
            detail = f": {outcome.detail}" if outcome.detail else ""
            print(f"{_MARKS[outcome.passed]} {outcome.check}{detail}", flush=True)
            if outcome.error is not None:
                print_lines_of(outcome.error, file=sys.stdout)
        not_run = f", {counts[None]} not run" if counts[None] else ""
        print(f"{self.name}: {counts[True]} passed, {counts[False]} failed{not_run}")
        return 1 if counts[False] else 0


def _documentation(cls: type) -> str:
    """Returns the header of the file, which describes the method; else the text of the class."""
    text = inspect.getdoc(cls) or ""
    is_generated = text.startswith(f"{cls.__name__}(")  # dataclasses do so where there is none
    header = inspect.getdoc(sys.modules[cls.__module__])
    return header or ("" if is_generated else text) or "(no documentation)"


def _option_lines(cls: type) -> Iterator[str]:
    texts = field_docstrings(cls)
    for name, value in options_of(cls()).items():
        yield f"  {name} = {value}"
        if name in texts:
            yield textwrap.fill(
                texts[name], _WIDTH, initial_indent="      ", subsequent_indent="      "
            )


def command(argv: Sequence[str]) -> int:
    """Parses and carries out one subcommand."""
    commands = {"list": List, "show": Show, "check": Check}
    description = "What strategies there are, what each does, and whether one keeps the contract."
    chosen: List | Show | Check = parse_command(
        commands, argv, program=PROGRAM, description=description
    )
    return chosen.carry_out()


def main() -> None:
    """Runs gs-strategies."""
    run_command(PROGRAM, command)


if __name__ == "__main__":
    main()
