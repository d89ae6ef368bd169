"""Help fits the terminal, says each thing once, and shows first what people use."""

import re
from itertools import pairwise

import pytest

from gs_densify import __version__
from gs_densify.cli import bench, eval, report, scene, strategies, train, view
from gs_densify.cli.arguments import COMMON
from gs_densify.config.options import TrainConfig
from gs_densify.flags.forms import options_in
from gs_densify.strategies.registry import BUILTIN

PAGES = [
    *((command, words) for command in (train, eval, bench, report, view) for words in ([],)),
    (train, ["--strategy", "mcmc"]),
    *((scene, [name] if name else []) for name in ("", *scene._COMMANDS)),
    *((strategies, [name] if name else []) for name in ("", "list", "show", "check")),
]


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    """What a command shows in a terminal of a width."""

    def shown(command, words: list[str], columns: int = 80) -> str:
        monkeypatch.setenv("COLUMNS", str(columns))
        with pytest.raises(SystemExit) as stop:
            command.command(words)
        assert not stop.value.code
        return capsys.readouterr().out

    return shown


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("flag", ["--help", "--help-all"])
@pytest.mark.parametrize(("command", "words"), PAGES)
def test_help_fills_its_lines_and_says_defaults_once(
    command, words: list[str], flag: str, columns: int, page
) -> None:
    shown = page(command, [*words, flag], columns)
    lines = shown.splitlines()
    assert lines[0].startswith("usage: gs-") and "--version" in shown and "--help-all" in shown
    assert max(map(len, lines)) < columns
    assert "{None}" not in shown and "(default: None)" not in shown and "'(" not in shown
    rows = re.split(r"\n(?=  ?\S|\S|\n)", shown)
    assert not [row for row in rows if row.count("default:") > 1]
    for line, following in pairwise(lines):
        is_text_below = following.startswith(" " * 10) and line.startswith(" " * 10)
        if is_text_below and following.split():
            assert len(line) + 1 + len(following.split()[0]) >= columns, "broken too early"


def test_help_of_training_is_one_screen_of_what_people_use(page) -> None:
    shown = page(train, ["--help"])
    assert len(shown.splitlines()) <= 55
    flags = re.findall(r"^  (--[\w.-]+)", shown, re.MULTILINE)
    assert flags == [*COMMON, "--help-all", "--version"]
    assert shown.index("--version") < shown.index("strategies")
    assert re.findall(r"^  ([a-z][a-z-]+) +\S", shown, re.MULTILINE) == [*BUILTIN]


def test_all_help_of_training_has_every_option(page) -> None:
    shown = page(train, ["--help-all"])
    assert {flag for one in options_in(TrainConfig) for flag in one.flags} <= {
        *re.findall(r"--[\w.-]+\w", shown)
    }


def test_help_with_a_strategy_has_its_options_in_whole(page) -> None:
    shown = page(train, ["--strategy", "mcmc", "--help"])
    assert "--strategy.noise-lr FLOAT" in shown and "--lr.means" not in shown
    assert "Noise of the means, as a factor of their learning rate. (default:" in " ".join(
        shown.split()
    )


@pytest.mark.parametrize(("command", "words"), PAGES)
def test_every_command_says_its_version(command, words: list[str], page) -> None:
    name = command.PROGRAM if command is not train else "gs-train"
    assert page(command, [*words, "--version"]) == f"{name} {__version__}\n"
