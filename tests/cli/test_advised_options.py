"""Options that messages name exist in the commands that print them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from command_forms import FORMS, OF_CLASSES, options_of

import gs_densify

PACKAGE = Path(gs_densify.__file__).parent
RAISED = re.compile(r"(Error|Finding|unreadable|_refuse\w*|remark|warning|print)$")
OPTION = re.compile(r"(?<![\w-])--([a-zA-Z][\w.-]*\w)")
NAMED = re.compile(r"\b(gs-(?:train|eval|scene|report|strategies|view|bench))(?: ([a-z-]+)\b)?")
OTHER_PROGRAM = re.compile(r"colmap|gdal_translate|mogrify|git lfs|pip |wandb ")
GONE = {"aggregate"}
PLACEHOLDERS = {"lr.NAME", "loss.NAME", "strategy.OPTION", "option"}

PRINTED_BY = {
    "": ("gs-train",),
    "bench": ("gs-bench",),
    "capture": ("gs-scene check",),
    "check": ("gs-strategies check",),
    "cli/bench.py": ("gs-bench",),
    "cli/eval.py": ("gs-eval",),
    "cli/report.py": ("gs-report",),
    "cli/strategies.py": ("gs-strategies check",),
    "cli/view.py": ("gs-view",),
    "config/strategy.py": ("gs-train",),
    "download": ("gs-scene download",),
    "evaluation": ("gs-train", "gs-eval"),
    "evaluation/lpips_fetch.py": ("gs-scene lpips-weights",),
    "reconstruct": ("gs-scene reconstruct",),
    "report": ("gs-report",),
    "results/compare.py": ("gs-eval",),
    "runs/claim.py": ("gs-train", "gs-eval"),
    "runs/evaluate.py": ("gs-eval",),
    "runs/layout.py": ("gs-train",),
    "runs/loaded_scene.py": ("gs-train", "gs-eval"),
    "runs/open_model.py": ("gs-eval",),
    "scene": ("gs-train", "gs-eval", "gs-scene info", "gs-scene check"),
    "scene/formats/tiny": ("gs-scene make-tiny",),
    "viewer": ("gs-view",),
}
"""Whose messages a module's are: the longest path that begins as its own counts."""


class Message(NamedTuple):
    """What an error or finding says, in the code."""

    place: str
    commands: tuple[str, ...]
    text: str
    option: str | None


def _texts(node: ast.AST) -> Iterator[str]:
    """The words of an expression in order; what is filled in is {}."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        parts = ["{}" if isinstance(one, ast.FormattedValue) else one.value for one in node.values]
        yield "".join(map(str, parts))
    elif not isinstance(node, ast.Call):
        for child in ast.iter_child_nodes(node):
            yield from _texts(child)


def _commands(path: str, owner: str | None) -> tuple[str, ...]:
    if path == "cli/scene.py" and owner is not None:
        return (OF_CLASSES[owner],)
    known = [begin for begin in PRINTED_BY if begin in ("", path) or path.startswith(begin + "/")]
    return PRINTED_BY[max(known, key=len)]


def _messages() -> Iterator[Message]:
    for file in sorted(PACKAGE.rglob("*.py")):
        path = file.relative_to(PACKAGE).as_posix()
        tree = ast.parse(file.read_text())
        owners = {
            id(node): outer.name
            for outer in tree.body
            if isinstance(outer, ast.ClassDef)
            for node in ast.walk(outer)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if not RAISED.search(name):
                continue
            given = {one.arg: one.value for one in node.keywords}
            option = given.pop("option", None)
            text = " ; ".join(
                words for part in [*node.args, *given.values()] for words in _texts(part)
            )
            commands = _commands(path, owners.get(id(node)))
            fixed = option.value if isinstance(option, ast.Constant) else None
            yield Message(f"{path}:{node.lineno}", commands, text, fixed)


def _named_options(message: Message) -> Iterator[tuple[str, str]]:
    """Each option of a message, with each of the commands that it is said to belong to."""
    for command in message.commands if message.option else ():
        yield message.option, command
    for clause in re.split(r"[;()]|, or ", message.text):
        start = OTHER_PROGRAM.search(clause)
        for found in OPTION.finditer(clause if start is None else clause[: start.start()]):
            before = [*NAMED.finditer(clause, 0, found.start())]
            for command in _whole_names(before[-1]) if before else message.commands:
                yield found[1], command


def _whole_names(named: re.Match[str]) -> tuple[str, ...]:
    longer = f"{named[1]} {named[2]}"
    return (longer if longer in FORMS else named[1],)


MESSAGES = list(_messages())


def test_there_are_messages_to_look_at() -> None:
    assert len(MESSAGES) > 200
    assert sum(1 for message in MESSAGES for _ in _named_options(message)) > 100


def test_every_option_that_a_message_names_is_one_of_the_command_that_prints_it() -> None:
    wrong = [
        f"{message.place}: --{option} is no option of {command}: {message.text}"
        for message in MESSAGES
        for option, command in _named_options(message)
        if option not in PLACEHOLDERS | GONE and option not in options_of(command)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", ["data.masks", "data.skip-missing", "data.test-every", "scene"])
def test_gs_eval_has_the_options_of_gs_train_that_scenes_ask_for(name: str) -> None:
    assert name in options_of("gs-eval") and name in options_of("gs-train")
