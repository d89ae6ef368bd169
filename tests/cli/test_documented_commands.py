"""Command lines of README and docs are taken by the commands as they are today."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from command_forms import FORMS, form_of, options_of

from gs_densify.errors import ConfigError
from gs_densify.flags.check import check
from gs_densify.flags.forms import options_in

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "benchmarks/records").rglob("README.md")),
]
BLOCK = re.compile(r"^```(?:sh|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)
ANY_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)`(gs-[a-z]+ [^`]*)`(?!`)")
COMMAND = re.compile(r"(?:^|\s|/)(gs-(?:train|eval|scene|report|strategies|view|bench))(?= |$)(.*)")
OPTION = re.compile(r"(?<![\w-])--([a-zA-Z][\w.-]*\w)")
PLACEHOLDERS = {"lr.NAME", "strategy.OPTION", "loss.NAME", "OPTION"}
OWN = "share"
"""The option of the strategy that the pages write."""


def commands_in_blocks(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Commands and their words, from the blocks that are to be typed."""
    for block in BLOCK.findall(page.read_text("utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|\||;|>", re.sub(r"(^|\s)#.*", "", line)):
                if (found := COMMAND.search(part)) is not None:
                    yield found[1], shlex.split(found[2])


def whole_name(command: str, words: list[str]) -> tuple[str, list[str]]:
    longer = " ".join([command, *words[:1]])
    return (longer, words[1:]) if longer in FORMS else (command, words)


def refusal(command: str, words: list[str]) -> str:
    """What the command says of these words; empty where it takes them."""
    name, words = whole_name(command, words)
    strategy = ""
    if name == "gs-train":
        strategy = "default"
        if "--strategy" in words:
            strategy = words[words.index("--strategy") + 1]
        if strategy.endswith(".py"):
            strategy = "default"
            words = [w for w in words if not w.startswith(f"--strategy.{OWN}=")]
            if f"--strategy.{OWN}" in words:
                place = words.index(f"--strategy.{OWN}")
                del words[place : place + 2]
    try:
        check(options_in(form_of(name, strategy)), words, name)
    except ConfigError as error:
        return f"{name} {shlex.join(words)}: {error}"
    return ""


def test_commands_to_type_are_taken() -> None:
    commands = [(page, *one) for page in PAGES for one in commands_in_blocks(page)]
    assert len(commands) > 50
    refused = [f"{page.name}: {said}" for page, *one in commands if (said := refusal(*one))]
    assert not refused, "\n".join(refused)


def test_a_command_that_is_not_taken_would_be_seen() -> None:
    assert "--step" in refusal("gs-train", ["--scene", "tiny", "--step", "3"])
    assert "is 'many'" in refusal("gs-train", ["--scene", "tiny", "--seed", "many"])
    assert refusal("gs-scene", ["check", "--picture", "a.png"])


def test_options_of_commands_amid_text_are_theirs() -> None:
    """Values are often placeholders there."""
    spans = [
        (page, " ".join(span.split()))
        for page in PAGES
        for span in SPAN.findall(ANY_BLOCK.sub("", page.read_text("utf-8")))
    ]
    assert len(spans) > 80
    wrong = []
    for page, span in spans:
        command, *words = span.split()
        name, words = whole_name(command, words)
        known = options_of(name) if name in FORMS or name == "gs-train" else None
        for option in OPTION.findall(" ".join(words)):
            if known is None or option not in known | PLACEHOLDERS:
                wrong.append(f"{page.name}: `{span}`: --{option}")
    assert not wrong, "\n".join(wrong)
