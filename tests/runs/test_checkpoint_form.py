"""Whole archives with wrong contents: each is refused in words, or a run goes on from it."""

import copy
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tqdm import tqdm

from gs_densify.check.battery import miniature_config
from gs_densify.check.miniature import load_miniature, make_trainer
from gs_densify.config.file import to_mapping, with_overrides
from gs_densify.config.options import TrainConfig
from gs_densify.config.strategy import strategy_for
from gs_densify.errors import GsDensifyError, ResultError, StrategyError
from gs_densify.model.row_gradients import of_rows
from gs_densify.results.encode import encode
from gs_densify.runs.checkpoint import (
    load_checkpoint,
    random_state,
    restore_random_state,
    save_checkpoint,
    to_bytes,
)
from gs_densify.runs.checkpoint_form import check_training, refusing_unfit
from gs_densify.runs.loaded_scene import Found
from gs_densify.runs.run_state import RunState, state_in
from gs_densify.strategies.adapter import StrategyAdapter
from gs_densify.training.trainer import Trainer

CPU = torch.device("cpu")
STEP = 23
MUTATIONS = 120


class Run:
    """A run of `adaptive` with a further trainable, interrupted amid an epoch."""

    def __init__(self) -> None:
        scene = load_miniature()
        self.scene = scene.with_points(scene.points[::4])
        config = miniature_config("adaptive")
        self.config = with_overrides(config, {"modules": ("exposure",), "batch_size": 2})
        first = self.start()
        self.fresh = {**copy.deepcopy(first.state_dict()), "random": random_state(CPU)}
        first.run(STEP, lambda row: None, tqdm(disable=True))
        state = RunState(
            command=["gs-train"],
            config=to_mapping(TrainConfig(scene="tiny")),
            device="cpu",
            scene="0",
            num_initial=5,
            found=Found(near_plane=0.1, normalized_from_colmap=torch.eye(4).tolist()),
        )
        self.contents = {
            **copy.deepcopy(first.state_dict()),
            "random": random_state(CPU),
            "run": encode(state),
        }
        self.trainer = self.start()

    def start(self) -> Trainer:
        adapter = StrategyAdapter("adaptive", strategy_for(self.config))
        return make_trainer(self.config, self.scene, adapter)

    def goes_on(self, path: Path) -> None:
        """Goes on as --resume does, for a step."""
        contents = load_checkpoint(path, None)
        state_in(contents, path)
        views, steps = len(self.trainer.views), self.config.steps
        check_training(contents, self.fresh, path, num_views=views, steps=steps)
        with refusing_unfit(path):
            self.trainer.load_state_dict(contents)
            restore_random_state(contents["random"], CPU)
        step = min(contents["step"] + 1, steps)
        self.trainer.run(step, lambda row: None, tqdm(disable=True))


@pytest.fixture(scope="module")
def run() -> Run:
    return Run()


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in nested contents, of long lists the first three."""
    if place:
        yield place
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _places(item, (*place, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value[:3]):
            yield from _places(item, (*place, index))


def _changed(value: Any, place: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    """A copy of `value` in which that at `place` is changed; it goes where `change` gives GONE."""
    if not place:
        return change(value)
    head, *rest = place
    new = _changed(value[head], tuple(rest), change)
    if isinstance(value, dict):
        return {
            key: new if key == head else item
            for key, item in value.items()
            if key != head or new is not GONE
        }
    items = [new if index == head else item for index, item in enumerate(value)]
    return type(value)(item for item in items if item is not GONE)


GONE = object()
OTHERS: list[Any] = [
    *(GONE, None, True, -1, 3, 10**12, 0.5, -2.5, math.nan, math.inf, "x", b"x"),
    *([], {}, [[]], (1, 2), {"a": 1}, {3: 4}),
    *(torch.zeros(()), torch.zeros(0), torch.zeros(3), torch.full((3, 3), math.nan)),
    *(torch.zeros(1).expand(10**13), torch.zeros(4).to_sparse(), torch.ones(4, dtype=torch.bool)),
    torch.zeros(2, device="meta"),
]
OF_TENSORS: list[Callable[[torch.Tensor], Any]] = [
    *(lambda t: t.double(), lambda t: t.half(), lambda t: t[:-1] if t.dim() else t),
    *(lambda t: t[None], lambda t: t.float() * math.nan, lambda t: t.to(torch.int64)),
    *(
        lambda t: t.new_zeros(1).expand(t.shape) if t.dim() else t,
        lambda t: torch.cat([t, t]) if t.dim() else t,
    ),
    lambda t: t.flatten()[:1].expand(t.shape) if t.dim() else t,
    *(lambda t: t.tolist(), lambda t: t.to("meta"), lambda t: t.bool(), lambda t: t * 0),
]


def _mutated(contents: Any, draw: random.Random) -> tuple[str, Any]:
    """Contents that differ in one place, and where."""
    places = list(_places(contents))
    place = draw.choice(places)
    found = contents
    for key in place:
        found = found[key]
    if isinstance(found, torch.Tensor) and draw.random() < 0.7:
        change = draw.choice(OF_TENSORS)
        said = f"change {OF_TENSORS.index(change)}"
    else:
        other = draw.choice(OTHERS)
        change, said = (lambda value: other), repr(other)[:40]
    return f"{place}: {said}", _changed(contents, place, change)


def test_an_unchanged_one_goes_on(run: Run, tmp_path: Path) -> None:
    path = tmp_path / f"step_{STEP:06d}.pt"
    save_checkpoint(path, run.contents)
    run.goes_on(path)


def test_one_of_a_gpu_goes_on_without_a_gpu(run: Run, tmp_path: Path) -> None:
    path = tmp_path / f"step_{STEP:06d}.pt"
    generators = {**run.contents["random"], "cuda": torch.zeros(16, dtype=torch.uint8)}
    save_checkpoint(path, {**run.contents, "random": generators})
    run.goes_on(path)


def test_what_is_changed_anywhere_is_refused_or_goes_on(run: Run, tmp_path: Path) -> None:
    draw, path, refused = random.Random(5), tmp_path / f"step_{STEP:06d}.pt", 0
    for _ in range(MUTATIONS):
        what, contents = _mutated(run.contents, draw)
        save_checkpoint(path, contents)
        try:
            run.goes_on(path)
        except GsDensifyError as error:
            refused += 1
            assert "\n" not in str(error), what
        except Exception as error:
            raise AssertionError(f"{what}: {error!r}") from error
    assert refused > MUTATIONS / 2


@pytest.mark.parametrize(
    ("rows", "width", "said"),
    [
        ([0, 3], 0, None),
        ([], 0, None),
        ([0, 10**6], 0, "shN: has rows beyond its"),
        ([-1, 3], 0, "shN: has rows beyond its"),
        ([0, 3], 1, r"shN: has shape \(2, \d+, 4\); expected \(2, \d+, 3\)"),
    ],
)
def test_gradients_of_rows_are_of_rows_that_there_are(
    rows: list[int], width: int, said: str | None, run: Run, tmp_path: Path
) -> None:
    """Those of a run with --render.offload."""
    num, *others = run.contents["splats"]["shN"].shape
    others[-1] += width
    values = torch.ones(len(rows), *others)
    gradient = of_rows(torch.tensor(rows, dtype=torch.int64), values, torch.Size([num, *others]))
    contents = {**run.contents, "gradients": {"shN": gradient}}
    options = {"num_views": len(run.trainer.views), "steps": run.config.steps}
    if said is None:
        check_training(contents, run.fresh, tmp_path, **options)
        return
    with pytest.raises(ResultError, match=said):
        check_training(contents, run.fresh, tmp_path, **options)


class Exits:
    """Ends the process where it is stored."""

    def __reduce__(self) -> Any:
        raise SystemExit(0)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (torch.zeros(1).expand(10**13), r"`state`; keep .* \(state: a is a tensor whose elements"),
        (Exits(), r"`state`; keep .* \(0\)"),
    ],
)
def test_what_no_checkpoint_can_hold_is_said(value: Any, said: str) -> None:
    with pytest.raises(StrategyError, match=said):
        to_bytes({"a": value})


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("splats", 3, "has no parameters of Gaussians"),
        ("step", -1, "step: is -1; expected a whole number from 1"),
        ("run", 3, "run: is 3; expected a dictionary"),
    ],
)
def test_what_gs_eval_refuses(place: str, value: Any, said: str, run: Run, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.pt", {**run.contents, place: value})
    with pytest.raises(ResultError, match=said):
        load_checkpoint(tmp_path / "a.pt", "cpu")


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (
            "means",
            lambda t: t.new_zeros(1).expand(10**13, 3),
            "means. claims more values than the file",
        ),
        (
            "means",
            lambda t: t.double(),
            "its .means. is no float32 tensor",
        ),
        ("quats", lambda t: t[:-1], "not of equally many Gaussians"),
        ("scales", lambda t: t * math.nan, "its .scales. is not finite in"),
        ("shN", lambda t: t[:, :4], r"shN: has shape .* expected \(\d+, 0, 3\) or"),
    ],
)
def test_parameters_that_gs_eval_refuses(
    name: str, change: Callable[[Any], Any], said: str, run: Run, tmp_path: Path
) -> None:
    splats = {**run.contents["splats"], name: change(run.contents["splats"][name])}
    save_checkpoint(tmp_path / "a.pt", {**run.contents, "splats": splats})
    with pytest.raises(ResultError, match=said):
        load_checkpoint(tmp_path / "a.pt", "cpu")
