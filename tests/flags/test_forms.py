"""What is known of the options of a form is what tyro makes of it."""

import dataclasses
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import tyro

from gs_densify.bench.options import RunOptions
from gs_densify.cli import bench, eval, report, scene, view
from gs_densify.cli.arguments import COMMON, _form
from gs_densify.config.options import TrainConfig
from gs_densify.errors import ConfigError
from gs_densify.flags.forms import options_in, paragraphs_of
from gs_densify.flags.other_programs import OPTIONS
from gs_densify.flags.parse import parse
from gs_densify.strategies.registry import load_strategy_class

NO_PAIRS = (tyro.conf.FlagCreatePairsOff,)
FORMS: dict[str, tuple[type, tuple[Any, ...]]] = {
    "gs-train": (
        _form(load_strategy_class("default"), TrainConfig(scene="tiny")),
        (),
    ),
    "gs-eval": (eval.EvalArguments, ()),
    "gs-bench": (bench.BenchArguments, NO_PAIRS),
    "gs-report": (report.ReportArguments, ()),
    "gs-view": (view.ViewArguments, ()),
    **{f"gs-scene {name}": (form, ()) for name, form in scene._COMMANDS.items()},
}


@pytest.mark.parametrize("program", FORMS)
def test_the_flags_of_a_form_are_those_that_tyro_reads(
    program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    form, markers = FORMS[program]
    with pytest.raises(SystemExit):
        tyro.cli(form, args=["--help"], config=markers)
    # Its help may have boxes side by side.
    rows = re.findall(r"(?:^| {2}|│ |\n )(-.*?)(?= {2}|$)", capsys.readouterr().out, re.MULTILINE)
    read = {flag for row in rows for flag in re.findall(r"--[a-z][\w.-]*", row)} - {"--help"}
    options = options_in(form, markers=markers)
    assert read == {flag for one in options if not one.is_positional for flag in one.flags}


@dataclasses.dataclass
class _Group:
    """A group."""

    rate: float = 0.5
    """How
    fast."""
    on: bool = True
    """Whether."""


@dataclasses.dataclass
class _Form:
    """A form.

    With a second paragraph.
    """

    source: Annotated[Path, tyro.conf.Positional]
    """What is read."""
    kind: Literal["a", "b"] = "a"
    other_name: Annotated[int, tyro.conf.arg(name="count", aliases=["--n"], help="How many.")] = 3
    hidden: tyro.conf.Suppress[int] = 1
    group: _Group = dataclasses.field(default_factory=_Group)
    made: int = dataclasses.field(init=False, default=2)


def test_options_have_names_defaults_and_texts() -> None:
    source, kind, count, rate, on = options_in(_Form, _Form(Path("x"), group=_Group(rate=2.0)))
    assert source.is_positional and source.is_required and source.text == "What is read."
    assert (kind.flags, kind.default, kind.is_required) == (("--kind",), "a", False)
    assert (count.flags, count.text) == (("--count", "--n"), "How many.")
    assert (rate.flags, rate.default, rate.text) == (("--group.rate",), 2.0, "How fast.")
    assert on.flags == ("--group.on", "--group.no-on") and on.group == "group"


def test_a_class_without_a_text_has_that_of_its_base() -> None:
    made = dataclasses.make_dataclass("_Form", [("more", int, 1)], bases=(_Group,))
    assert paragraphs_of(made) == ["A group."]
    assert paragraphs_of(_Form) == ["A form.", "With a second paragraph."]
    assert paragraphs_of(dataclasses.make_dataclass("Bare", [("more", int, 1)])) == []


def test_what_has_no_default_is_asked_for() -> None:
    @dataclasses.dataclass
    class Needs:
        out: Path
        """Folder to make."""

    with pytest.raises(ConfigError, match=r"--out is missing; give it"):
        parse(Needs, [], program="p")
    assert parse(Needs, [], program="p", default=Needs(Path("x"))).out == Path("x")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["x", "--group.rat", "1"], "--group.rat: no such option; did you mean --group.rate?"),
        (["x", "--rate", "1"], "--rate: no such option; did you mean --group.rate?"),
        (["x", "--group.z", "1"], "there are --group.rate, --group.on, --group.no-on"),
        (["x", "--zzz"], "--zzz: no such option; p --help-all shows all that there are"),
        (["x", "--n", "1.5"], "--n is '1.5'; expected a whole number"),
        (["x", "--n"], "--n has no value; expected a whole number"),
        (["x", "--group.on=1"], "--group.on is given '1'; it takes no value"),
        (["x", "y"], "'y' belongs to no option; leave y out"),
        (["--n", "2"], "no source given; p SOURCE: What is read"),
        (["x", "--kind", "A"], "--kind is 'A'; expected a or b; did you mean a?"),
    ],
)
def test_what_does_not_fit_is_said_in_words(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(_Form, words, program="p", stray="leave {word} out")
    assert said in str(caught.value)


def test_numbers_may_have_units() -> None:
    parsed = parse(_Form, ["x", "--n", "7k", "--group.rate=1.5M"], program="p")
    assert (parsed.other_name, parsed.group.rate) == (7000, 1_500_000.0)


def test_names_of_other_programs_lead_to_options_of_ours() -> None:
    form, _ = FORMS["gs-train"]
    known = {flag for one in options_in(form) for flag in one.flags}
    meant = {flag for text in OPTIONS.values() for flag in re.findall(r"--[\w.-]*\w", text)}
    assert not meant - known
    own = {flag.lstrip("-").rpartition(".")[2] for flag in known}
    assert not OPTIONS.keys() & own, "they would be found without the table"
    assert {*COMMON} <= known and len(COMMON) == len({*COMMON}) == 30


def test_the_options_of_a_study_have_no_opposites() -> None:
    flags = {flag for one in options_in(RunOptions, markers=NO_PAIRS) for flag in one.flags}
    assert {"--no-forecast", "--dry-run"} <= flags
    assert not {"--forecast", "--no-dry-run"} & flags


@pytest.mark.parametrize("flag", ["--help", "--help-all", "--help_all", "--version"])
def test_what_prints_and_ends_takes_no_value(flag: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(ConfigError, match=f"^{flag.replace('_', '-')} takes no value$"):
        parse(_Group, [f"{flag}=1"], program="p")
    with pytest.raises(SystemExit):
        parse(_Group, [flag], program="p")
    assert capsys.readouterr().out
