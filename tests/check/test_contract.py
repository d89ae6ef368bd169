"""The contract battery: built-in strategies pass, and each check fails where it should."""

import dataclasses
import re
from pathlib import Path

import pytest
import torch

from gs_densify.check import battery as contract
from gs_densify.check.battery import check_strategy
from gs_densify.check.miniature import load_miniature, make_trainer
from gs_densify.check.rules import (
    StepRecord,
    changes_off_schedule,
    first_difference,
    loss_that_stays,
)
from gs_densify.check.subject import STEPS, Subject
from gs_densify.strategies.methods.default import DefaultStrategy
from gs_densify.strategies.registry import BUILTIN

DOCS = Path(__file__).parents[2] / "docs"
ON_A_CPU = [name for name, entry in BUILTIN.items() if not entry.needs_cuda]

FAULTY = """
import itertools, os, random
from dataclasses import dataclass
import torch
from gs_densify.strategies import ops
from gs_densify.strategies.base import Strategy

RUNS = itertools.count()

def drop_last(params, optimizers, state, by):
    mask = torch.zeros(ops.count(params), dtype=torch.bool)
    mask[-by:] = True
    ops.remove(params, optimizers, state, mask)

@dataclass
class Faulty(Strategy):
    refine_start_iter: int = 6000
    refine_stop_iter: int = 15000
    refine_every: int = 100
    def __post_init__(self):
        self.calls, self.run = 0, next(RUNS)
    def step_post_backward(self, params, optimizers, state, step, info):
        self.calls += 1
        {fault}
"""

# A fault, the check that must find it, and what must be said.
FAULTS = {
    "raises": (
        "if step == 5: raise RuntimeError('two\\nlines')",
        "rows, moments and statistics stay in step",
        r"step 5, step_post_backward: RuntimeError: two lines$",
    ),
    "exits": (
        "if step == 5: raise SystemExit(0)",
        "rows, moments and statistics stay in step",
        r"step 5, step_post_backward: SystemExit: 0$",
    ),
    "rows": (
        "if step == 5: params['quats'] = torch.nn.Parameter(params['quats'][:7].detach())",
        "rows, moments and statistics stay in step",
        r"step 5, step_post_backward: 'quats' has 7 rows, 'means' has \d+",
    ),
    "not storable": (
        "state['tool'] = lambda: 1",
        "rows, moments and statistics stay in step",
        "a checkpoint cannot hold what is in `state`",
    ),
    "nan": (
        "if step == 5: params['opacities'].data[3] = float('nan')",
        "all parameters stay finite",
        r"step 5, .*'opacities' is not finite in 1 of \d+ Gaussians",
    ),
    "off schedule": (
        "if step == 15: drop_last(params, optimizers, state, 3)",
        contract._ON_SCHEDULE,
        r"step 15: (\d+) Gaussians became \d+, but refine_start_iter is 20 and",
    ),
    "confused by the cap": (
        "everyone = torch.ones(ops.count(params)) > 0\n"
        "        if step == 30: ops.duplicate(params, optimizers, state, everyone)\n"
        "        if step == 31: assert ops.count(params) % 100 != 80, 'where are they?'",
        "--max-gaussians is kept",
        "step 31, .*AssertionError: where are they?",
    ),
    "draws from the system": (
        "params['means'].data += 1e-3 * int.from_bytes(os.urandom(1), 'big') / 256",
        "the same seed gives the same bits",
        r"after \d+ steps: splats.means differs in \d+ of \d+ rows",
    ),
    "statistics in attributes": (
        "params['means'].data += 1e-5 * self.calls",
        "a checkpoint resumes to the same bits",
        r"and \d+ more from a checkpoint: splats.means differs",
    ),
    "needs two": (
        "params['opacities'].detach().topk(2)",
        "one Gaussian is survived",
        "RuntimeError: selected index k out of range",
    ),
    "needs a visible one": (
        "info['radii'][info['radii'] > 0].max()",
        "no Gaussian in view is survived",
        "RuntimeError: max()",
    ),
    "removes by quantity": (
        "is_weak = params['opacities'].sigmoid() < 0.005\n"
        "        twice = 2 * int(is_weak.sum())\n"
        "        if step == 10 and twice: drop_last(params, optimizers, state, twice)",
        "nearly all pruned is survived",
        "step 10, step_post_backward: no Gaussian is left",
    ),
    "unlearns": (
        "params['opacities'].data.fill_(-8.0)",
        "the loss falls",
        r"mean loss 0\.\d+ in the first 10 steps, 0\.\d+ in the last",
    ),
    "does nothing": (
        "print('step', step)",
        "it changes the model",
        r"it changed nothing in 80 steps, so nothing was checked",
    ),
}


@pytest.mark.parametrize("name", ON_A_CPU)
def test_a_built_in_strategy_keeps_the_contract(name):
    outcomes = list(check_strategy(name))
    assert len(outcomes) == 14
    assert [one for one in outcomes if not one.passed] == []


@pytest.mark.parametrize(("fault", "check", "said"), FAULTS.values(), ids=FAULTS.keys())
def test_each_check_finds_its_fault(tmp_path, fault, check, said):
    path = tmp_path / "faulty.py"
    path.write_text(FAULTY.replace("{fault}", fault))
    found = {one.check: one for one in check_strategy(str(path), only=check)}
    assert found[check].passed is False
    assert re.search(said, found[check].detail), found[check].detail
    assert "\n" not in found[check].detail
    others = [one for one in found.values() if one.check != check]
    assert all(one.passed in (True, None) for one in others)


TALKATIVE = """
from dataclasses import dataclass
from gsplat.strategy import DefaultStrategy

@dataclass
class CustomStrategy(DefaultStrategy):
    verbose: bool = True
"""


def test_what_a_strategy_prints_is_kept_off_the_results(tmp_path, capsys):
    path = tmp_path / "talkative.py"
    path.write_text(TALKATIVE)
    outcomes = list(check_strategy(str(path), only=contract._ON_SCHEDULE))
    assert len(outcomes) == 3 and all(one.passed for one in outcomes)
    said = capsys.readouterr()
    assert "GSs duplicated" in said.err and said.out == ""


def test_a_number_that_never_changes_says_nothing_of_the_schedule(tmp_path):
    path = tmp_path / "faulty.py"
    path.write_text(FAULTY.replace("{fault}", "params['means'].data *= 1.0001"))
    subject = Subject(str(path), contract.miniature_config(str(path)), load_miniature())
    subject.carry_out_main_run()
    assert contract._outcome(contract._ON_SCHEDULE, contract._on_schedule, subject).passed is None
    assert contract._does_something(subject) is None


def test_after_a_stop_the_other_checks_are_not_run(tmp_path):
    path = tmp_path / "faulty.py"
    path.write_text(FAULTY.replace("{fault}", FAULTS["raises"][0]))
    outcomes = list(check_strategy(str(path)))
    assert [one.passed for one in outcomes] == [False] + [None] * 13


def test_the_strategy_of_the_manual_keeps_the_contract(tmp_path):
    text = (DOCS / "write_a_strategy.md").read_text(encoding="utf-8")
    path = tmp_path / "my_strategy.py"
    path.write_text(re.search(r"```python\n(.*?)```", text, re.DOTALL).group(1))
    outcomes = list(check_strategy(str(path)))
    assert [one for one in outcomes if not one.passed] == []
    assert not any(one.detail for one in outcomes)  # it did change the number of Gaussians


def test_views_outside_the_training_set_are_found(monkeypatch):
    scene = load_miniature()
    subject = Subject("default", contract.miniature_config("default"), scene)
    trainer, subject.adapter = subject.start()
    subject.advance(trainer, 1)
    assert contract._sees_training_views_only(subject) is None
    subject.adapter.records.append(StepRecord(1, 5, 5, (len(scene.views),)))
    assert "step 1: views [7] of 7 training views" in contract._sees_training_views_only(subject)
    subject.adapter.records.pop()
    other = subject.scene.photos[1].copy()
    other[0, 0] = 255 - other[0, 0]
    subject.scene.photos[1] = other
    assert "the probe's view 1 is not" in contract._sees_training_views_only(subject)


def test_nothing_is_visible_in_the_scene_out_of_sight():
    subject = Subject("default", contract.miniature_config("default"), load_miniature())
    trainer, host = subject.start(scene=subject.scene.out_of_sight())
    subject.advance(trainer, 1)
    assert all(int(host.probe(i).info["radii"].sum()) == 0 for i in range(len(host.probe)))


def test_the_miniature_agrees_with_the_scene_it_is_made_from():
    scene = load_miniature()
    for view, photo in zip(scene.views, scene.photos, strict=True):
        assert photo.shape == (view.height, view.width, 3) == (32, 48, 3)
    # A model of the full scene's points, rendered in the small views, must resemble the photos.
    config = contract.miniature_config("default")
    subject = Subject("default", config, scene)
    trainer, host = subject.start()
    assert isinstance(make_trainer(config, scene, host).splats["means"], torch.nn.Parameter)
    subject.advance(trainer, STEPS, lambda row: subject.losses.append(row.terms["l1"]))
    assert subject.losses[-1] < 0.12


def records(*changes: int) -> list[StepRecord]:
    return [StepRecord(step, 10, 11, (0,)) for step in changes] + [StepRecord(1, 10, 10, (0,))]


def test_changes_are_on_schedule_in_the_window_and_at_steps_that_options_name():

    @dataclasses.dataclass
    class Two(DefaultStrategy):
        prune_at: int = 33
        again_at: tuple[int, ...] = (50, 60)

    strategy = Two(refine_start_iter=10, refine_stop_iter=20, refine_every=5, reset_every=7)
    assert changes_off_schedule(strategy, records(10, 15, 20)) is None
    assert changes_off_schedule(strategy, records(33, 60)) is None
    assert changes_off_schedule(strategy, records(32)) is None  # the 33rd step
    assert "step 9: 10 Gaussians became 11" in changes_off_schedule(strategy, records(9))
    assert "step 21" in changes_off_schedule(strategy, records(12, 21))
    assert "step 5" in changes_off_schedule(strategy, records(5))  # an interval is no step
    assert changes_off_schedule(object(), records(3)) is None  # it has no schedule options


def test_the_loss_must_fall_clearly():
    assert loss_that_stays([1.0] * 10 + [0.8] * 10) is None
    assert loss_that_stays([1.0] * 10 + [0.95] * 10) is not None
    assert loss_that_stays([1.0] * 10 + [float("nan")] * 10) is not None


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"a": {"b": torch.tensor([1.0, 2.0])}, "c": [1, "x"]}, None),
        ({"a": {"b": torch.tensor([1.0, 3.0])}, "c": [1, "x"]}, "a.b differs in 1 of 2 rows"),
        ({"a": {"b": torch.tensor([1.0])}, "c": [1, "x"]}, r"a.b differs: shapes \(2,\) and \(1,"),
        ({"a": {"b": torch.tensor([1.0, 2.0])}, "c": [1, "y"]}, "c.1 differs: x and y"),
        ({"a": {"b": torch.tensor([1.0, 2.0])}, "c": [1]}, "c has 2 and 1 entries"),
        ({"a": {}, "c": [1, "x"]}, "a has"),
    ],
)
def test_the_first_difference_of_two_states_is_named(other, said):
    one = {"a": {"b": torch.tensor([1.0, 2.0])}, "c": [1, "x"]}
    found = first_difference(one, other)
    assert found is None if said is None else re.search(said, found)
