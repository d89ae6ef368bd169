"""The optimisers' step against torch's own, on every path; `adam_cases` has what must hold."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from adam_cases import CASES, N, Run, counted_launches

from gs_densify.model import adam


@pytest.mark.parametrize("case", CASES)
def test_torchs_path(case: str) -> None:
    CASES[case]("cpu")


def test_the_kernel_when_interpreted(interpret: Callable[..., None]) -> None:
    interpret(Path(__file__).with_name("adam_cases.py").read_text())


@pytest.mark.gpu
@pytest.mark.parametrize("case", CASES)
def test_the_kernel_on_a_gpu(case: str) -> None:
    with counted_launches() as launches:
        CASES[case]("cuda")
    assert launches


@pytest.mark.gpu
def test_a_step_does_not_wait_for_the_gpu() -> None:
    run = Run("cuda")
    for step in range(3):
        run.give_gradients(step)
        torch.cuda.set_sync_debug_mode("error" if step else "default")
        try:
            adam.update(run.optimizers)
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_a_mask_that_does_not_fit_is_refused_and_nothing_is_stepped() -> None:
    run = Run("cpu")
    run.give_gradients(0)
    before = run.values()
    with pytest.raises(ValueError, match=f"shape \\({N - 1},\\); 'means' has {N} rows"):
        adam.update(run.optimizers, torch.ones(N - 1, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"torch\.int64; it must be boolean"):
        adam.update(run.optimizers, torch.ones(N, dtype=torch.int64))
    assert all(torch.equal(value, before[name]) for name, value in run.tensors())
    assert all(parameter.grad is not None for parameter in run.params.values())


MADE_SAVED_AND_LOADED = """
import sys, torch
from gs_densify.model import adam

def stepped(kind):
    parameter = torch.nn.Parameter(torch.linspace(-1, 1, 12).reshape(4, 3))
    one = kind([{"params": parameter, "name": "means"}], lr=0.1, fused=True)
    for step in range(3):
        parameter.grad = torch.linspace(step - 1, 2, 12).reshape(4, 3)
        one.step()
        assert parameter.requires_grad and parameter.is_leaf
        one.load_state_dict(one.state_dict())
    return one, parameter

ours, our_value = stepped(getattr(adam, "Quick" + sys.argv[1]))
assert "torch._dynamo" not in sys.modules
theirs, their_value = stepped(getattr(torch.optim, sys.argv[1]))
assert isinstance(ours, type(theirs))
assert ours.param_groups[0].keys() == theirs.param_groups[0].keys()
assert torch.equal(our_value, their_value)
for key, value in theirs.state[their_value].items():
    assert torch.equal(ours.state[our_value][key], value)
"""


@pytest.mark.parametrize("kind", ["Adam", "AdamW"])
def test_quick_optimisers_are_torchs_but_do_not_load_its_compiler(kind: str) -> None:
    command = [sys.executable, "-c", MADE_SAVED_AND_LOADED, kind]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
