"""What tells whether a model was touched: nothing is missed, and nothing kept alive."""

import gc
import weakref

import pytest
import torch

from gs_densify.model.form import traced
from gs_densify.model.init import create_optimizers


def model():
    params = torch.nn.ParameterDict(
        {name: torch.nn.Parameter(torch.rand(5, 3)) for name in ("means", "scales")}
    )
    optimizers = create_optimizers(params, dict.fromkeys(params, 1e-3))
    stepped(params, optimizers)
    return params, optimizers


def stepped(params, optimizers):
    for name, optimizer in optimizers.items():
        params[name].grad = torch.ones_like(params[name])
        optimizer.step()


def test_steps_and_rates_leave_it_equal():
    params, optimizers = model()
    before = traced(params, optimizers)
    stepped(params, optimizers)
    optimizers["means"].param_groups[0]["lr"] = 2e-3
    assert before is not None
    assert before.is_of(params, optimizers)


TOUCHED = {
    "another parameter": lambda p, o: p.update({"means": torch.nn.Parameter(torch.rand(5, 3))}),
    "other values": lambda p, o: setattr(p["means"], "data", torch.rand(5, 3)),
    "other rows": lambda p, o: setattr(p["means"], "data", torch.rand(4, 3)),
    "another type": lambda p, o: setattr(p["means"], "data", p["means"].data.half()),
    "shared rows": lambda p, o: setattr(p["means"], "data", p["means"].data[:1].expand(5, 3)),
    "no moments": lambda p, o: o["means"].state.clear(),
    "another moment": lambda p, o: o["means"].state[p["means"]].update(exp_avg=torch.rand(5, 3)),
    "one more entry": lambda p, o: o["means"].state[p["means"]].update(more={}),
    "no number for a rate": lambda p, o: o["means"].param_groups[0].update(lr=float("nan")),
    "one parameter more": lambda p, o: p.update({"more": torch.nn.Parameter(torch.rand(5))}),
    "another optimiser": lambda p, o: o.update(means=torch.optim.SGD([p["means"]], 1e-3)),
}


@pytest.mark.parametrize("how", TOUCHED)
def test_whatever_is_touched_makes_it_another(how):
    params, optimizers = model()
    before = traced(params, optimizers)
    TOUCHED[how](params, optimizers)
    assert not before.is_of(params, optimizers)


def test_it_keeps_nothing_alive_and_is_no_models_afterwards():
    params, optimizers = model()
    before, gone = traced(params, optimizers), weakref.ref(params["means"])
    del params["means"], optimizers["means"]
    gc.collect()
    assert gone() is None
    # As if others had taken the places of those that are gone.
    before._marks = traced(params, optimizers)._marks
    assert not before.is_of(params, optimizers)
