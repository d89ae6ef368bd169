"""The original densification after its first reset, from where on gsplat's is another."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from splats_example import trained

from gs_densify.errors import ConfigError
from gs_densify.strategies.methods.default import DefaultStrategy
from gs_densify.strategies.methods.mcmc import MCMCStrategy

COMMON = {"refine_start_iter": 2, "refine_every": 4, "refine_stop_iter": 22, "reset_every": 8}


def kept_after(strategy: DefaultStrategy, params: Any, optimizers: Any) -> dict[int, torch.Tensor]:
    """The means after each step that changed their number, by step; every gradient is the same."""
    state = strategy.initialize_state(scene_scale=2.0)
    changed = {}
    for step in range(24):
        count = len(params["means"])
        means2d = SimpleNamespace(grad=torch.full((1, count, 2), 1e-5), retain_grad=lambda: None)
        radii = torch.full((1, count, 2), 3, dtype=torch.int32)
        info = {"means2d": means2d, "radii": radii, "width": 90, "height": 60, "n_cameras": 1}
        strategy.step_pre_backward(params, optimizers, state, step, info)
        strategy.step_post_backward(params, optimizers, state, step, info)
        if len(params["means"]) != count:
            changed[step] = params["means"].detach().clone()
    return changed


@pytest.mark.parametrize(("pause", "steps"), [(0, [4, 8, 12, 16, 20]), (3, [4, 12, 20])])
def test_refinement_pauses_after_each_reset(pause: int, steps: list[int]) -> None:
    params, optimizers, _ = trained(12)
    strategy = DefaultStrategy(
        **COMMON, pause_refine_after_reset=pause, prune_opa=1e-6, prune_scale3d=1e9
    )
    assert list(kept_after(strategy, params, optimizers)) == steps


def test_what_is_too_large_is_pruned_after_the_first_reset_only() -> None:
    params, optimizers, _ = trained(12)
    with torch.no_grad():
        params["scales"].fill_(-4.0)
        params["scales"][3, 0] = torch.tensor(0.19).log()  # the limit is 0.1 scene radii: 0.2
        params["scales"][[5, 8], [1, 2]] = torch.tensor([0.21, 3.0]).log()
    expected = params["means"].detach()[[0, 1, 2, 3, 4, 6, 7, 9, 10, 11]].clone()
    strategy = DefaultStrategy(**COMMON, prune_opa=1e-6, grow_grad2d=1e9)
    changed = kept_after(strategy, params, optimizers)
    assert list(changed) == [12]
    assert torch.equal(changed[12], expected)


def test_the_least_and_most_that_options_allow() -> None:
    assert DefaultStrategy(refine_every=1, reset_every=1).refine_every == 1
    for opacity in (0.0, 1.0):
        with pytest.raises(ConfigError, match=f"min_opacity is {opacity}"):
            MCMCStrategy(min_opacity=opacity)
