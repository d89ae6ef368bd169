"""--render.offload: SH coefficients in host memory, of which a step touches what it draws."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tqdm import tqdm

from gs_densify.check.miniature import Miniature, load_miniature, make_trainer
from gs_densify.config.options import LearningRates, RenderOptions, TrainConfig
from gs_densify.config.strategy import strategy_for
from gs_densify.errors import BackendError
from gs_densify.model import home, row_gradients
from gs_densify.runs.checkpoint import load_checkpoint, random_state, save_checkpoint
from gs_densify.runs.checkpoint_form import check_training
from gs_densify.strategies import ops
from gs_densify.strategies.adapter import StrategyAdapter
from gs_densify.training.trainer import Trainer

STEPS = 16
OPTIONS = {
    "default": {"grow_grad2d": 1e-6, "refine_start_iter": 3, "refine_every": 5},
    "mcmc": {"refine_start_iter": 3, "refine_every": 5, "budget": 200, "growth": 1.1},
}
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
RASTERIZERS = {"cpu": "reference", "cuda": "gsplat"}
"""Those that offload; what is compared with it must round as they do."""
# The first gradient of a sphere's rotation is rounding alone, and Adam makes a whole step of it.
RATES = LearningRates(quats=0.0, visible_only=True, weight_decay=0.01)


class Moving:
    """Sums the gradients of two steps; between them it copies, moves and drops Gaussians."""

    def update_every(self, step: int) -> int:
        return 2

    def step_post_backward(
        self, params: Any, optimizers: Any, state: Any, step: int, info: Any
    ) -> None:
        rows = torch.arange(ops.count(params), device=params["means"].device)
        if step == 0:
            ops.duplicate(params, optimizers, state, rows % 7 == 0)
        elif step == 2:
            ops.relocate(params, optimizers, state, rows % 11 == 0)
        elif step == 4:
            ops.remove(params, optimizers, state, rows % 5 == 0)


class Foreign:
    """Replaces parameters by new tensors, as gsplat's operations do."""

    def step_post_backward(
        self, params: Any, optimizers: Any, state: Any, step: int, info: Any
    ) -> None:
        if step != 1:
            return
        for name, old in list(params.items()):
            new = torch.nn.Parameter(torch.cat([old, old[:3]]).detach())
            entries = optimizers[name].state.pop(old)
            for key in ("exp_avg", "exp_avg_sq"):
                entries[key] = torch.cat([entries[key], entries[key][:3]])
            optimizers[name].state[new] = entries
            optimizers[name].param_groups[0]["params"] = [new]
            params[name] = new


@pytest.fixture(scope="module")
def scene() -> Miniature:
    return load_miniature()


def _config(
    strategy: str = "default", *, offload: bool, batch_size: int = 1, device: str = "cpu"
) -> TrainConfig:
    return TrainConfig(
        scene="tiny",
        strategy=strategy,
        steps=STEPS,
        log_every=12,
        batch_size=batch_size,
        schedule_factor=1.0,
        strategy_options=OPTIONS[strategy],
        lr=RATES,
        render=RenderOptions(offload=offload, sh_degree_every=1, rasterizer=RASTERIZERS[device]),
    )


def _trainer(
    config: TrainConfig, scene: Miniature, device: str, strategy: Any | None = None
) -> Trainer:
    adapter = StrategyAdapter(config.strategy, strategy or strategy_for(config))
    return make_trainer(config, scene, adapter, device=device)


def _run(trainer: Trainer, until: int) -> Trainer:
    trainer.run(until, lambda row: None, tqdm(disable=True))
    return trainer


def _difference(one: Trainer, other: Trainer) -> float:
    """The largest of any parameter or moment, in parts of the largest value of its kind."""
    found = 0.0
    for name, value in one.splats.items():
        states = [t.optimizers[name].state[t.splats[name]] for t in (one, other)]
        pairs = [(value, other.splats[name])]
        pairs += [(states[0][key], states[1][key]) for key in ("exp_avg", "exp_avg_sq")]
        for first, second in pairs:
            assert first.shape == second.shape, name
            scale = float(second.detach().abs().max()) or 1.0
            found = max(found, float((first - second).detach().abs().max()) / scale)
    return found


def _lies_as_it_should(trainer: Trainer) -> bool:
    """Whether shN and its moments are in host memory, and nothing else is."""
    on_gpu = trainer.splats["means"].is_cuda
    for name, value in trainer.splats.items():
        entries = trainer.optimizers[name].state[value]
        for one in (value, entries["exp_avg"], entries["exp_avg_sq"]):
            if on_gpu and home.is_in_host_memory(one) != (name == "shN"):
                return False
    return True


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("strategy", ["default", "mcmc"])
def test_it_trains_as_visible_only_does(scene: Miniature, device: str, strategy: str) -> None:
    """Through several refinements; a batch of two views has rows that one of them draws."""
    batch_size = 2 if strategy == "default" else 1
    config = partial(_config, strategy, batch_size=batch_size, device=device)
    with_it, without = (
        _run(_trainer(config(offload=one), scene, device), STEPS) for one in (True, False)
    )
    if device == "cpu":  # on a GPU sums have no fixed order, and refinement amplifies that
        assert _difference(with_it, without) < 5e-3
    assert with_it.progress.peak_gaussians > len(scene.points)
    assert float(with_it.splats["shN"].detach().abs().max()) > 0
    shown, whole = (t.renderer.view(with_it.splats, scene.views[0]) for t in (with_it, without))
    torch.testing.assert_close(shown, whole, atol=1e-5, rtol=0)
    assert _lies_as_it_should(with_it)


@pytest.mark.parametrize("device", DEVICES)
def test_summed_gradients_follow_moves(scene: Miniature, device: str) -> None:
    with_it, without = (
        _run(_trainer(_config(offload=one, device=device), scene, device, Moving()), 8)
        for one in (True, False)
    )
    assert with_it.gaussians.num != len(scene.points)
    # A row that was drawn and got no gradient is stepped with it, and not without, after a move.
    assert _difference(with_it, without) < 5e-3
    assert _lies_as_it_should(with_it)


@pytest.mark.parametrize("device", DEVICES)
def test_what_a_strategy_makes_anew_goes_back(scene: Miniature, device: str) -> None:
    with_it, without = (
        _run(_trainer(_config(offload=one, device=device), scene, device, Foreign()), 4)
        for one in (True, False)
    )
    assert with_it.gaussians.num == len(scene.points) + 3
    assert _difference(with_it, without) < (1e-3 if device == "cuda" else 1e-4)
    assert _lies_as_it_should(with_it)


def test_rows_that_no_view_draws_stay(scene: Miniature) -> None:
    """Without --lr.visible-only, too; all other parameters change as ever."""
    config = dataclasses.replace(_config(offload=True), lr=LearningRates(weight_decay=0.01))
    trainer = _trainer(config, scene, "cpu", Foreign())
    with torch.no_grad():
        trainer.splats["means"][::3] -= 100 * scene.scene_scale * trainer.views.viewmats[0][2, :3]
        trainer.splats["shN"].fill_(0.1)
    before = {name: value.detach().clone() for name, value in trainer.splats.items()}
    trainer.step(3)
    changed = {
        name: (value != before[name]).flatten(1).any(1)
        if value.dim() > 1
        else value != before[name]
        for name, value in trainer.splats.items()
    }
    assert changed["shN"].any() and not changed["shN"][::3].any()
    assert changed["sh0"].all()


@pytest.mark.parametrize("device", DEVICES)
def test_a_checkpoint_amid_summed_gradients_goes_on(
    scene: Miniature, device: str, tmp_path: Path
) -> None:
    config = _config(offload=True, device=device)
    whole = _run(_trainer(config, scene, device, Moving()), 7)
    first = _run(_trainer(config, scene, device, Moving()), 3)
    assert first.splats["shN"].grad is not None and first.splats["shN"].grad.is_sparse
    path, random = tmp_path / "checkpoint.pt", {"random": random_state(torch.device(device))}
    save_checkpoint(path, {**first.state_dict(), **random})
    saved = load_checkpoint(path, "cpu", is_mapped=True)
    again = _trainer(config, scene, device, Moving())
    fresh = {**again.own_state(), **random}
    check_training(saved, fresh, path, num_views=len(scene.views), steps=STEPS)
    again.load_state_dict(saved)
    assert _lies_as_it_should(again)
    assert _difference(_run(again, 7), whole) < (1e-3 if device == "cuda" else 1e-9)


def test_gradients_of_rows_are_those_of_all_rows() -> None:
    parameter = torch.randn(9, 2, 3, requires_grad=True)
    rows, weights = torch.tensor([1, 4, 8]), torch.randn(3, 2, 3)
    (row_gradients.Rows.apply(parameter, rows) * weights).sum().backward()
    (row_gradients.Rows.apply(parameter, rows[:2]) * weights[:2]).sum().backward()
    assert parameter.grad is not None and parameter.grad.is_sparse
    dense = parameter.grad.to_dense()
    wanted = torch.zeros(9, 2, 3)
    wanted[rows] = weights
    wanted[rows[:2]] += weights[:2]
    assert torch.equal(dense, wanted)
    kept = torch.tensor([8, 0, 4, 2])
    gathered = row_gradients.gathered(parameter.grad, kept, 2).to_dense()
    assert torch.equal(gathered, torch.cat([wanted[kept], torch.zeros(2, 2, 3)]))
    left = row_gradients.without(parameter.grad, torch.tensor([5, 4])).to_dense()
    wanted[4] = 0
    assert torch.equal(left, wanted)
    assert row_gradients.has_row(left).tolist() == [i in (1, 8) for i in range(9)]


def test_more_than_the_host_has_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "free_memory", lambda: 10**9)
    with pytest.raises(BackendError, match=r"1\.25 GB of Gaussians .* \(1\.00 GB are free\)"):
        home._Pool().tensor((250_000, 1000), torch.device("cuda"))
