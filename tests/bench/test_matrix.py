"""From studies to cells: which there are, what each is told, and when two are the same numbers."""

import dataclasses
import json
from pathlib import Path

import pytest
import yaml

from gs_densify.bench.file import read_study
from gs_densify.bench.fingerprint import Fingerprint, fingerprint
from gs_densify.bench.matrix import Cell, cells_of
from gs_densify.bench.study import Overrides, parse_study, with_overrides
from gs_densify.cli.arguments import parse_train_arguments
from gs_densify.errors import ConfigError

STUDIES = Path(__file__).parents[2] / "configs/studies"
OWN = """
from dataclasses import dataclass

from gs_densify.strategies.base import Strategy


@dataclass
class OwnStrategy(Strategy):
    \"\"\"Does nothing.\"\"\"

    share: float = 0.5
"""


def cells(text: str, folder: Path = Path(), **flags: object) -> list[Cell]:
    study = parse_study(yaml.safe_load(text), "study.yml", folder)
    study = with_overrides(study, Overrides(**flags), folder)  # type: ignore[arg-type]
    return cells_of(study, parse_train_arguments)


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        cells(text)
    return str(caught.value)


def test_a_study_is_a_matrix() -> None:
    found = cells(
        "{scenes: [tiny], methods: {adaptive: , mcmc: {seeds: [7], preset: fast}},"
        " seeds: [42, 1], presets: [compact, balanced]}"
    )
    assert [one.name for one in found] == [
        *("tiny/adaptive-compact/seed42", "tiny/adaptive-compact/seed1"),
        *("tiny/adaptive-balanced/seed42", "tiny/adaptive-balanced/seed1"),
        "tiny/mcmc-fast/seed7",
    ]
    assert {one.config.preset for one in found} == {"compact", "balanced", "fast"}
    assert [one.config.seed for one in found] == [42, 1, 42, 1, 7]


def test_the_inner_option_counts_for_more() -> None:
    text = """
scenes: {tiny: {log_every: 2, lr.sh0: 0.2}}
methods: {mcmc: {options: {lr.sh0: 0.3, lr.scales: 0.3}}}
options: {steps: 50, log_every: 1, lr.sh0: 0.1, lr.scales: 0.1, lr.quats: 0.1}
changes: {other: {lr.quats: 0.4}}
"""
    base, changed = cells(text)
    assert (base.name, changed.name) == ("tiny/mcmc/seed42", "tiny/mcmc+other/seed42")
    rates = base.config.lr
    assert (rates.sh0, rates.scales, rates.quats) == (0.3, 0.3, 0.1)
    assert (base.config.log_every, base.config.checkpoint_every) == (2, None)
    assert changed.config.lr.quats == 0.4
    flagged = cells(text, options={"lr.sh0": 0.5, "lr.quats": 0.5, "checkpoint_every": 7})
    assert [one.config.lr.sh0 for one in flagged] == [0.5, 0.5]
    assert [one.config.lr.quats for one in flagged] == [0.5, 0.4]
    assert flagged[0].config.checkpoint_every == 7


def test_sweeps_alone_are_the_rows() -> None:
    found = cells("{scenes: [tiny], methods: [mcmc], sweeps: {strategy.min_opacity: [0.005, 0.1]}}")
    assert [one.config.strategy_options["min_opacity"] for one in found] == [0.005, 0.1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{methods: [mcmc]}", "study.yml: no scenes"),
        ("{scenes: [tiny]}", "study.yml: no methods"),
        ("{scenes: [tiny], methods: [nope]}", "methods: nope, scene tiny: unknown strategy 'nope'"),
        (
            "{scenes: [tiny], methods: {mcmc: {options: {strategy.magic: 1}}}}",
            "methods: mcmc: options: --strategy.magic: no such option",
        ),
        (
            "{scenes: [tiny], methods: [mcmc], options: {steps: -1}}",
            "study.yml: options: --steps is -1",
        ),
        (
            "{scenes: [tiny], options: {iterations: 5}, methods: {mcmc: {options: {steps: 9}}}}",
            "study.yml: options: --iterations: no such option; did you mean --steps?",
        ),
        (
            "{scenes: {tiny: {downscale: x}}, methods: [mcmc]}",
            "study.yml: scenes: tiny: ",
        ),
        (
            "{scenes: [tiny], methods: [mcmc], changes: {none: {seed: 3}}}",
            "'seed' is set by",
        ),
        (
            "{scenes: [tiny], methods: [mcmc], changes: {same: {strategy.min_opacity: 0.005}}}",
            "changes: same: changes nothing of mcmc on scene tiny",
        ),
        (
            "{scenes: [tiny], methods: {mcmc: , same: {strategy: mcmc}}}",
            "methods: same, scene tiny: tiny/same/seed42 is the same run as tiny/mcmc/seed42",
        ),
        (
            "{scenes: [tiny], methods: {mcmc-fast: {strategy: mcmc}, mcmc: {preset: fast}}}",
            "there is such a row already (study.yml: methods: mcmc-fast, scene tiny)",
        ),
    ],
)
def test_what_cannot_be_run_is_said_before(text: str, said: str) -> None:
    assert said in refused(text)


def test_a_fingerprint_is_of_what_moves_a_number(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    text = "{scenes: [tiny], methods: [own.py]}"

    def of(**options: object) -> Fingerprint:
        return fingerprint(cells(text, tmp_path, options=options)[0])

    first = of()
    assert first.options["strategy.name"] == "own.py"
    assert Fingerprint(**json.loads(json.dumps(dataclasses.asdict(first)))) == first
    noise = {"device": "cpu", "data.workers": 1, "data.image_budget": 1, "evaluation.pictures": 0}
    noise |= {"checkpoint_minutes": 1}
    assert of(**noise, **{"data_root": "elsewhere"}).digest == first.digest
    for name, value in (("strategy.share", 0.4), ("checkpoint_every", 9), ("log_every", 7)):
        changed = of(**{name: value})
        assert changed.digest != first.digest
        assert changed.difference(first) == f"{name} {first.options[name]} -> {value}"
    (tmp_path / "own.py").write_text(OWN + "\n# the same, and yet another file\n")
    assert of().difference(first) == "other code of the strategy"
    other = dataclasses.replace(first, package_code="0")
    assert other.difference(first) == "other code of gs_densify"


def test_example_studies_can_be_run() -> None:
    assert len(cells_of(read_study(STUDIES / "smoke.yml"), parse_train_arguments)) == 8
    equal = read_study(STUDIES / "equal_budget.yml")
    assert (len(equal.scenes), len(equal.methods), equal.budget) == (2, 8, 500_000)
    without = dataclasses.replace(equal, budget=None)
    assert len(cells_of(without, parse_train_arguments)) == 2 * (3 * 2 + 5)


def test_a_budget_is_that_of_every_method() -> None:
    """Needs gs-train's --budget."""
    equal = cells_of(read_study(STUDIES / "equal_budget.yml"), parse_train_arguments)
    assert {one.config.budget for one in equal} == {500_000}  # type: ignore[attr-defined]
    assert all(one.budget == 500_000 and "--budget" in one.arguments for one in equal)
