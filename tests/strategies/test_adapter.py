"""The adapter: what a class lacks, what it is called with, and when its methods are looked at."""

import inspect

import pytest
import torch
from gsplat.strategy import DefaultStrategy as GsplatDefault
from splats_example import trained

from gs_densify.errors import StrategyError
from gs_densify.model.gaussians import Gaussians
from gs_densify.model.state import State
from gs_densify.strategies.adapter import OPTIONAL, StrategyAdapter
from gs_densify.strategies.base import Strategy


class Foreign:
    """A class with the one hook that is needed."""

    def __init__(self) -> None:
        self.seen: list[dict] = []

    def step_post_backward(self, params, optimizers, state, step, info) -> None:
        self.seen.append(dict(params=params, state=state, step=step, info=info))


class Silent(Foreign):
    """A class that has every optional method, none of which says anything."""


for _name in OPTIONAL:
    setattr(Silent, _name, lambda self, **offered: None)


def _answers(adapter: StrategyAdapter) -> dict:
    return {
        "maps": adapter.num_attributed_maps(7),
        "term": adapter.regularization({}, 7),
        "update_every": adapter.update_every(7),
        "together": adapter.steps_together(7, 0),
        "lr_step": adapter.lr_step(7),
        "sh_degree": adapter.sh_degree(7, 2, highest=3),
        "absgrad": adapter.needs_absgrad(7),
    }


EXPECTED = {
    "maps": 0,
    "term": None,
    "update_every": 1,
    "together": 1,
    "lr_step": 7,
    "sh_degree": 2,
    "absgrad": False,
}


@pytest.mark.parametrize("strategy", [Foreign(), Silent(), Strategy()])
def test_what_a_class_lacks_or_leaves_open_is_the_contracts_default(strategy) -> None:
    assert _answers(StrategyAdapter("s", strategy)) == EXPECTED


def test_defaults_are_those_of_the_base_class_and_nowhere_else(monkeypatch) -> None:
    assert set(OPTIONAL) == {
        *("needs_absgrad", "num_attributed_maps", "attributed_maps", "regularization"),
        *("update_every", "steps_together", "lr_step", "sh_degree"),
    }
    monkeypatch.setattr(Strategy, "update_every", lambda self, step: step + 3)
    monkeypatch.setattr(Strategy, "steps_together", lambda self, step: step + 1)
    monkeypatch.setattr(Strategy, "lr_step", lambda self, step: 2 * step)
    monkeypatch.setattr(Strategy, "num_attributed_maps", lambda self, step: 0)
    monkeypatch.setattr(Strategy, "regularization", lambda self, params, step: torch.ones(()))
    monkeypatch.setattr(Strategy, "sh_degree", lambda self, step, scheduled: scheduled - 1)
    for strategy in (Foreign(), Silent()):
        found = _answers(StrategyAdapter("s", strategy))
        changed = {"update_every": 10, "together": 8, "lr_step": 14, "sh_degree": 1, "term": 1.0}
        assert found == {**EXPECTED, **changed}


def test_absgrad_holds_always_for_a_foreign_class_and_while_refining_for_our_own() -> None:
    foreign = StrategyAdapter("g", GsplatDefault(absgrad=True, refine_stop_iter=10))
    assert foreign.needs_absgrad(5) and foreign.needs_absgrad(29_999)
    assert not StrategyAdapter("g", GsplatDefault()).needs_absgrad(5)
    own = Strategy()
    own.absgrad, own.refine_stop_iter = True, 10
    adapter = StrategyAdapter("s", own)
    assert adapter.needs_absgrad(9) and not adapter.needs_absgrad(10)


def test_intervals_below_one_are_one() -> None:
    strategy = Foreign()
    strategy.update_every = lambda step: 0
    strategy.steps_together = lambda step: 0
    adapter = StrategyAdapter("s", strategy)
    assert adapter.update_every(3) == 1 and adapter.steps_together(3, 0) == 1


def test_methods_are_bound_and_their_signatures_read_once(monkeypatch) -> None:
    strategy = Foreign()
    strategy.lr_step = lambda step: step + 100
    adapter = StrategyAdapter("s", strategy)
    strategy.lr_step = lambda step: -1
    params, optimizers, _ = trained(5)  # the first optimiser imports much, which needs signatures
    monkeypatch.setattr(inspect, "signature", None)
    gaussians = adapter.start(params, optimizers, scene_scale=1.0)
    for step in range(3):
        assert adapter.lr_step(step) == step + 100
        adapter.pre_backward(gaussians, step, {})
        adapter.post_backward(gaussians, step, {}, means_lr=0.1, packed=False)
    assert [one["step"] for one in strategy.seen] == [0, 1, 2]


def test_hooks_get_the_arguments_that_they_name_and_a_plain_dictionary() -> None:
    strategy = Foreign()
    calls = []
    strategy.step_pre_backward = lambda **offered: calls.append(offered)
    strategy.step_post_backward = lambda step, lr, *, packed, scene="none": calls.append(
        {"step": step, "lr": lr, "packed": packed, "scene": scene}
    )
    adapter = StrategyAdapter("s", strategy)
    params, optimizers, _ = trained(5)
    gaussians = adapter.start(params, optimizers, scene_scale=2.0)
    info = {"width": 4}
    adapter.pre_backward(gaussians, 3, info)
    adapter.post_backward(gaussians, 3, info, means_lr=0.5, packed=True)
    first, second = calls
    assert first.keys() == {"params", "optimizers", "state", "step", "info"}
    assert first["params"] is params and first["optimizers"] is optimizers
    assert first["info"] is info and first["state"] is gaussians.state
    assert second == {"step": 3, "lr": 0.5, "packed": True, "scene": None}


def test_a_class_without_gsplats_other_hooks_starts_with_no_statistics() -> None:
    gaussians = StrategyAdapter("s", Foreign()).start(*trained(5)[:2], scene_scale=2.0)
    assert isinstance(gaussians, Gaussians) and gaussians.state == {}
    assert Strategy().initialize_state(2.0) == {"scene_scale": 2.0}


def test_statistics_are_declared_as_the_class_says() -> None:
    strategy = Foreign()
    strategy.initialize_state = lambda scene_scale: {"a": torch.zeros(5), "b": torch.zeros(5)}
    strategy.per_gaussian = ("a",)
    state = StrategyAdapter("s", strategy).start(*trained(5)[:2], scene_scale=2.0).state
    assert isinstance(state, State) and state.rows(5) == ["a"]
    strategy.initialize_state = lambda scene_scale: [1]
    with pytest.raises(StrategyError, match="initialize_state: gave list; a dictionary is needed"):
        StrategyAdapter("s", strategy).start(*trained(5)[:2], scene_scale=2.0)


def test_the_cap_holds_from_the_start_and_after_every_hook() -> None:
    strategy = Foreign()
    adapter = StrategyAdapter("s", strategy, max_gaussians=4)
    params, optimizers, _ = trained(9)
    expected = params["opacities"].detach().sort().values[-4:]
    gaussians = adapter.start(params, optimizers, scene_scale=1.0)
    assert torch.equal(params["opacities"].detach().sort().values, expected)
    strategy.step_post_backward = lambda params, optimizers, state: Gaussians(
        params, optimizers, state
    ).gather(None, torch.tensor([0, 1]))
    adapter = StrategyAdapter("s", strategy, max_gaussians=5)
    adapter.post_backward(gaussians, 1, {}, means_lr=0.1, packed=False)
    assert gaussians.num == 5


def test_members_that_do_not_fit_are_refused_in_words() -> None:
    strategy = Foreign()
    strategy.regularization = 0.1
    with pytest.raises(StrategyError, match=r"'s', before .*, regularization: is 0\.1; a method"):
        StrategyAdapter("s", strategy)
    strategy = Foreign()
    strategy.num_attributed_maps = lambda step: 1
    with pytest.raises(StrategyError, match="step 3, attributed_maps: is missing, though"):
        StrategyAdapter("s", strategy).attributed_maps(3, {}, shape=(1, 2, 2, 1))
    strategy.attributed_maps = lambda step, info: torch.zeros(1, 2)
    with pytest.raises(StrategyError, match=r"gave \(1, 2\); maps of shape \(1, 2, 2, 1\)"):
        StrategyAdapter("s", strategy).attributed_maps(3, {}, shape=(1, 2, 2, 1))
    strategy.sh_degree = lambda step: 4
    with pytest.raises(StrategyError, match="sh_degree: gave 4; the model has 0 to 3"):
        StrategyAdapter("s", strategy).sh_degree(3, 2, highest=3)


def test_gsplats_own_strategy_starts_and_sees_a_step() -> None:
    adapter = StrategyAdapter("g", GsplatDefault(verbose=False))
    gaussians = adapter.start(*trained(5)[:2], scene_scale=2.0)
    assert gaussians.state["scene_scale"] == 2.0
    means2d = torch.zeros(1, 5, 2, requires_grad=True) * 1.0
    info = {
        "means2d": means2d,
        "radii": torch.ones(1, 5, 2, dtype=torch.int32),
        **{"width": 8, "height": 6, "n_cameras": 1, "gaussian_ids": None},
    }
    adapter.pre_backward(gaussians, 1, info)
    means2d.sum().backward()
    adapter.post_backward(gaussians, 1, info, means_lr=0.1, packed=False)
    assert gaussians.state["count"].tolist() == [1.0] * 5
    assert _answers(adapter) == EXPECTED


@pytest.mark.parametrize(("strategy", "expected"), [(Strategy(), [1]), (Silent(), [0, 1, 2])])
def test_models_are_looked_at_after_all_hooks_of_others_and_where_ours_replaced_them(
    monkeypatch, strategy, expected
) -> None:
    params, optimizers, _ = trained(8)
    adapter = StrategyAdapter("one", strategy)
    gaussians = adapter.start(params, optimizers, scene_scale=1.0)
    looked: list[int] = []
    monkeypatch.setattr(adapter, "_check_model", lambda *given: looked.append(given[-1]))

    def hook(offered) -> None:
        if offered["step"] == 1:
            gaussians.gather(None, torch.tensor([3]))

    monkeypatch.setitem(adapter._hooks, "step_post_backward", hook)
    for step in range(3):
        adapter.post_backward(gaussians, step, {}, means_lr=0.0, packed=False)
    assert looked == expected
