"""The contract of a strategy as checks that can be run: on a built-in one or a user's file.

Each check trains a miniature of the tiny scene for a few steps on the CPU and gives an `Outcome`.
`gs-strategies check` prints them; the test-suite runs them on every built-in strategy.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gs_densify.check.miniature import Miniature, load_miniature
from gs_densify.check.rules import changes_off_schedule, first_difference, loss_that_stays
from gs_densify.check.subject import HALF, SHORT, STEPS, Subject, described, stored
from gs_densify.config.file import with_overrides
from gs_densify.config.layers import strategy_defaults, trainer_defaults
from gs_densify.config.options import TrainConfig
from gs_densify.errors import StrategyError
from gs_densify.runs.checkpoint import from_bytes, restore_random_state
from gs_densify.strategies.base import Strategy
from gs_densify.strategies.registry import (
    load_strategy_class,
    options_of,
    recipe_of,
    require_device,
)
from gs_densify.strategies.schedule import can_be_scaled

_FACTOR = 1 / 300
"""Steps 20 and 40 refine under gsplat's options, and 15 000 and 20 000 fall into the main run."""


_SHARE_KEPT = 0.1
_EARLY_RESET = {"reset_every": 150, "pause_refine_after_reset": 0, "prune_scale3d_start_iter": 0}
"""Options of gsplat's, and of those who follow it, with which sizes are limited at step 40."""


@dataclass(frozen=True)
class Outcome:
    """How a check ended: `passed` is None where it could not be run; `detail` says what, where."""

    check: str
    passed: bool | None
    detail: str = ""
    error: Exception | None = None
    """What was raised."""


def check_strategy(name: str, only: str | None = None) -> Iterator[Outcome]:
    """Yields every outcome for the strategy `name` or a file, as it comes; errors before a run
    raise.

    With `only`, of the checks after the main run just the one of this name is carried out.
    """
    require_device(name, "cpu")
    subject = Subject(name, miniature_config(name), load_miniature())
    with _one_thread():
        subject.carry_out_main_run()
    yield from _main_outcomes(subject)
    for check, examine in _CHECKS:
        if only not in (None, check):
            continue
        if subject.error:
            yield Outcome(check, None, "not run, as training stopped")
        else:
            yield _outcome(check, examine, subject)


def miniature_config(name: str) -> TrainConfig:
    """Returns the strategy with the tiny scene's settings and its own recipe, on a schedule of
    seconds.
    """
    cls = load_strategy_class(name)
    defaults = trainer_defaults("tiny", cls, recipe=recipe_of(name, cls), protocol="default")
    settings: dict[str, Any] = {
        "strategy": name,
        "strategy_options": options_of(strategy_defaults("tiny", cls)),
        "device": "cpu",
        "steps": STEPS,
        "log_every": 1,
        "schedule_factor": _FACTOR if can_be_scaled(cls) else 1.0,
    }
    return with_overrides(defaults, settings)


def _main_outcomes(subject: Subject) -> Iterator[Outcome]:
    in_step = Outcome("rows, moments and statistics stay in step", True)
    finite = Outcome("all parameters stay finite", True)
    if subject.error and subject.has_diverged:
        finite = _failed(finite.check, subject.error)
    elif subject.error:
        in_step = _failed(in_step.check, subject.error)
        finite = Outcome(finite.check, None, "not run, as training stopped")
    yield in_step
    yield finite


def _outcome(check: str, examine: Callable[[Subject], str | None], subject: Subject) -> Outcome:
    try:
        with _one_thread():
            problem = examine(subject)
    except Exception as error:  # a user's strategy may raise anything
        return _failed(check, error)
    if check == _ON_SCHEDULE and not subject.has_changed_number:
        return Outcome(check, None, f"not seen, as it never changed in {STEPS} steps")
    return Outcome(check, problem is None, problem or "")


def _failed(check: str, error: Exception) -> Outcome:
    return Outcome(check, False, described(error), error)


def _does_something(subject: Subject) -> str | None:
    """Compares with training under no strategy, where the number of Gaussians says nothing."""
    if subject.has_changed_number:
        return None
    idle, _ = subject.start(strategy=Strategy())
    subject.advance(idle, STEPS)
    found = from_bytes(subject.snapshots[STEPS])["splats"]
    if first_difference(from_bytes(stored(idle))["splats"], found):
        return None
    return (
        f"it changed nothing in {STEPS} steps, so nothing was checked: where its options name later"
        " steps, give them earlier defaults, or the class a method scaled(factor)"
    )


def _on_schedule(subject: Subject) -> str | None:
    assert subject.adapter is not None
    return changes_off_schedule(subject.adapter.strategy, subject.records)


def _keeps_cap(subject: Subject) -> str | None:
    cap = len(subject.scene.points) + 20
    trainer, adapter = subject.start(dataclasses.replace(subject.config, max_gaussians=cap))
    subject.advance(trainer, SHORT)
    beyond = [one for one in adapter.records if one.after > cap]
    if beyond:
        return f"step {beyond[0].step}: {beyond[0].after} Gaussians, where {cap} are allowed"
    return None


def _repeats(subject: Subject) -> str | None:
    trainer, _ = subject.start()
    subject.advance(trainer, SHORT)
    return _compared(subject.snapshots[SHORT], stored(trainer), f"after {SHORT} steps")


def _resumes(subject: Subject) -> str | None:
    contents = from_bytes(subject.snapshots[HALF])
    trainer, _ = subject.start()
    trainer.load_state_dict(contents)
    restore_random_state(contents["random"], trainer.splats["means"].device)
    subject.advance(trainer, STEPS)
    where = f"after {HALF} steps and {STEPS - HALF} more from a checkpoint"
    return _compared(subject.snapshots[STEPS], stored(trainer), where)


def _survives_one(subject: Subject) -> str | None:
    scene = subject.scene
    central = np.median(scene.points, axis=0, keepdims=True)
    config = with_overrides(subject.config, {"init.scale": 0.05, "init.opacity": 0.5})
    trainer, _ = subject.start(config, scene.with_points(central))
    subject.advance(trainer, SHORT)
    return None


def _survives_blindness(subject: Subject) -> str | None:
    """Accepts pruning all that no view sees, or refusing such a scene in words: both are sound."""
    trainer, _ = subject.start(scene=subject.scene.out_of_sight())
    try:
        subject.advance(trainer, SHORT)
    except StrategyError as error:
        if trainer.gaussians.num > 0 and not isinstance(error.__cause__, StrategyError):
            raise
    return None


def _survives_pruning(subject: Subject) -> str | None:
    trainer, _ = subject.start()
    with torch.no_grad():
        trainer.splats["opacities"].fill_(-9.0)  # an opacity of 1e-4
        trainer.splats["opacities"][::40] = 2.0
    subject.advance(trainer, SHORT)
    return None


def _keeps_two_photos(subject: Subject) -> str | None:
    return _scene_lost(subject, subject.scene.of_two_photos())


def _keeps_short_baseline(subject: Subject) -> str | None:
    return _scene_lost(subject, subject.scene.of_a_short_baseline())


def _scene_lost(subject: Subject, scene: Miniature) -> str | None:
    """Returns a complaint where limits of size, which bind after a reset, delete the scene."""
    known = options_of(strategy_defaults("tiny", load_strategy_class(subject.name)))
    early = {name: value for name, value in _EARLY_RESET.items() if name in known}
    options = {**subject.config.strategy_options, **early}
    config = dataclasses.replace(subject.config, strategy_options=options)
    trainer, adapter = subject.start(config, scene)
    subject.advance(trainer, SHORT)
    first, last = len(scene.points), adapter.records[-1].after
    if last < _SHARE_KEPT * first:
        return f"{first} Gaussians became {last} in {SHORT} steps"
    return None


def _loss_falls(subject: Subject) -> str | None:
    return loss_that_stays(subject.losses)


def _sees_training_views_only(subject: Subject) -> str | None:
    count = len(subject.scene.views)
    for one in subject.records:
        if not set(one.views) <= set(range(count)):
            return f"step {one.step}: views {list(one.views)} of {count} training views"
    probe = subject.adapter.probe if subject.adapter is not None else None
    assert probe is not None
    if len(probe) != count:
        return f"the probe offers {len(probe)} views, where {count} are trained on"
    for index, photo in enumerate(subject.scene.photos):
        seen = probe(index).image[0]
        if not torch.equal(seen, torch.from_numpy(photo).float() / 255.0):
            return f"the probe's view {index} is not training view {index}"
    return None


_ON_SCHEDULE = "the number of Gaussians changes on schedule"
_CHECKS: tuple[tuple[str, Callable[[Subject], str | None]], ...] = (
    ("it changes the model", _does_something),
    (_ON_SCHEDULE, _on_schedule),
    ("--max-gaussians is kept", _keeps_cap),
    ("the same seed gives the same bits", _repeats),
    ("a checkpoint resumes to the same bits", _resumes),
    ("one Gaussian is survived", _survives_one),
    ("no Gaussian in view is survived", _survives_blindness),
    ("nearly all pruned is survived", _survives_pruning),
    ("two photos keep the scene", _keeps_two_photos),
    ("photos from one place keep the scene", _keeps_short_baseline),
    ("the loss falls", _loss_falls),
    ("only training views are seen", _sees_training_views_only),
)


def _compared(one: bytes, other: bytes, when: str) -> str | None:
    difference = first_difference(from_bytes(one), from_bytes(other))
    return f"{when}: {difference}" if difference else None


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Pictures this small gain nothing from several threads, whose sums may differ in order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
