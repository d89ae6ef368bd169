"""What must hold of `adam.update` on every path: torch's, the kernel's on a GPU or interpreted.

As a script (TRITON_INTERPRET=1) it goes through all cases on the CPU with the kernel.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import gsplat.strategy.ops as gsplat_ops
import torch

from gs_densify.model import adam, row_gradients
from gs_densify.model.init import NAMES, create_optimizers, to_parameters
from gs_densify.strategies import ops

RATES = dict(zip(NAMES, (1e-3, 5e-3, 1e-3, 5e-2, 2.5e-3, 1e-4), strict=True))
N = 530  # more than a program's rows


class Run:
    """A model of SH degree 1 and its optimisers; runs of one seed are equal."""

    def __init__(self, device: str, *, seed: int = 0, **options: float) -> None:
        torch.manual_seed(seed)
        shapes = {"quats": (4,), "opacities": (), "sh0": (1, 3), "shN": (3, 3)}
        values = {name: torch.randn(N, *shapes.get(name, (3,))) for name in NAMES}
        self.params = to_parameters(values, torch.device(device))
        self.optimizers = create_optimizers(self.params, RATES, **options)
        self.state = {"seen": torch.zeros(N, device=device)}

    def give_gradients(self, step: int, skipped: tuple[str, ...] = ()) -> None:
        """Gradients of this step; they vary over many magnitudes, and some are 0."""
        generator = torch.Generator().manual_seed(step)
        for name, parameter in self.params.items():
            noise, exponent, keep = torch.randn(3, *parameter.shape, generator=generator)
            if name not in skipped:
                grad = noise * 10 ** (2 * exponent - 3) * (keep > -1)
                parameter.grad = grad.to(parameter)

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Parameters, moments and step counts."""
        for name, parameter in self.params.items():
            yield name, parameter.detach()
            for key, value in self.optimizers[name].state.get(parameter, {}).items():
                yield f"{key} of {name}", value.cpu() if key == "step" else value

    def values(self) -> dict[str, torch.Tensor]:
        return {name: tensor.clone() for name, tensor in self.tensors()}


def torch_step(run: Run) -> None:
    for optimizer in run.optimizers.values():
        optimizer.step()
        optimizer.zero_grad()


def assert_equal_to_rounding(found: Run, expected: Run) -> None:
    ours, theirs = dict(found.tensors()), dict(expected.tensors())
    assert list(ours) == list(theirs)
    for name, value in theirs.items():
        assert_close(ours[name], value, name)


def assert_close(found: torch.Tensor, expected: torch.Tensor, name: str) -> None:
    """To rounding; on CUDA torch's own float32 step takes 1 - 0.999 in float32, 1.3e-5 off."""
    rtol = 2e-5 if expected.is_cuda and expected.dtype == torch.float32 else 2e-6
    atol = 1e-6 * float(expected.abs().max())
    torch.testing.assert_close(
        found.to(expected), expected, rtol=rtol, atol=atol, msg=lambda text: f"{name}: {text}"
    )


def case_equals_torch_in_float64(device: str) -> None:
    for options in ({}, {"weight_decay": 0.01}, {"batch_size": 4}):
        found, expected = Run(device, **options), Run(device, **options)
        for name, parameter in expected.params.items():
            expected.params[name] = torch.nn.Parameter(parameter.detach().double())
            expected.optimizers[name].param_groups[0]["params"] = [expected.params[name]]
        for step in range(3):
            skipped = ("shN",) if step < 1 else ()
            for run in (found, expected):
                run.give_gradients(step, skipped)
                run.optimizers["means"].param_groups[0]["lr"] = 1e-3 * 0.9**step
            adam.update(found.optimizers)
            torch_step(expected)
            assert all(parameter.grad is None for parameter in found.params.values())
        assert float(found.optimizers["shN"].state[found.params["shN"]]["step"]) == 2
        assert_equal_to_rounding(found, expected)


def case_follows_rows_added_and_removed(device: str) -> None:
    found, expected = Run(device), Run(device)
    changes: list[Callable[..., None]] = [
        ops.duplicate,
        gsplat_ops.duplicate,
        ops.split,
        ops.remove,
        gsplat_ops.remove,
        ops.relocate,
        lambda params, optimizers, state, mask: ops.reset_opa(params, optimizers, state, 0.2),
        lambda params, optimizers, state, mask: ops.rebuild(
            params, optimizers, state, {name: value[mask] for name, value in params.items()}
        ),
    ]
    for step, change in enumerate(changes):
        for run in (found, expected):
            torch.manual_seed(step)
            mask = torch.rand(ops.count(run.params), device=device) < 0.3
            change(run.params, run.optimizers, run.state, mask)
            run.give_gradients(step)
        adam.update(found.optimizers)
        torch_step(expected)
        assert_equal_to_rounding(found, expected)
    assert ops.count(found.params) != N


def case_goes_on_from_a_checkpoint_of_either_kind(device: str) -> None:
    """Steps by torch, then by `update`, then by torch again, saved and loaded in between."""
    found, expected = Run(device), Run(device)
    for step, take in enumerate((torch_step, None, torch_step, None)):
        for run in (found, expected):
            run.give_gradients(step)
        adam.update(found.optimizers) if take is None else take(found)
        torch_step(expected)
        found = _reloaded(found, device)
        assert_equal_to_rounding(found, expected)


def _reloaded(run: Run, device: str) -> Run:
    stored = io.BytesIO()
    contents = (dict(run.params), {n: one.state_dict() for n, one in run.optimizers.items()})
    torch.save(contents, stored)
    stored.seek(0)
    again = Run(device, seed=1)
    params, states = torch.load(stored, map_location=device, weights_only=True)
    again.params = to_parameters(params, torch.device(device))
    for name, optimizer in again.optimizers.items():
        optimizer.param_groups[0]["params"] = [again.params[name]]
        optimizer.load_state_dict(states[name])
    return again


def case_rows_that_are_not_visible_stay_as_they_are(device: str) -> None:
    masked, plain, everything = (Run(device, weight_decay=0.01) for _ in range(3))
    visible = (torch.rand(N, 2, device=device) < 0.5)[:, 0]
    for step in range(2):
        before = masked.values()
        for run in (masked, plain, everything):
            run.give_gradients(step)
        adam.update(masked.optimizers, visible)
        adam.update(plain.optimizers)
        adam.update(everything.optimizers, torch.ones_like(visible))
        expected = plain.values()
        for name, value in masked.tensors():
            if value.dim():
                hidden = before.get(name, torch.zeros_like(value))[~visible]
                assert torch.equal(value[~visible], hidden), name
                assert_close(value[visible], expected[name][visible], name)
    assert_equal_to_rounding(everything, plain)


def case_gradients_of_rows_are_those_of_visible_ones(device: str) -> None:
    """In pieces, of which the last is shorter."""
    kept, adam._ROWS = adam._ROWS, 100
    found, expected = (Run(device, weight_decay=0.01) for _ in range(2))
    for step in range(3):
        visible = torch.rand(N, device=device) < 0.5
        rows = torch.where(visible)[0]
        for run in (found, expected):
            run.give_gradients(step)
        parameter = found.params["shN"]
        values = parameter.grad[rows]
        parameter.grad = None
        row_gradients.Rows.apply(parameter, rows).backward(values)
        assert parameter.grad is not None and parameter.grad.is_sparse
        adam.update(found.optimizers, visible)
        adam.update(expected.optimizers, visible)
        assert_equal_to_rounding(found, expected)
    adam._ROWS = kept


def case_non_contiguous_gradients_are_taken(device: str) -> None:
    found, expected = Run(device), Run(device)
    for run in (found, expected):
        run.give_gradients(0)
    for parameter in found.params.values():
        wide = torch.empty(*parameter.shape, 2, device=device)
        wide[..., 0] = parameter.grad
        parameter.grad = wide[..., 0]
        assert not parameter.grad.is_contiguous()
    adam.update(found.optimizers)
    torch_step(expected)
    assert_equal_to_rounding(found, expected)


def case_other_optimisers_take_their_own_step(device: str) -> None:
    found, expected = Run(device), Run(device)
    calls: list[torch.optim.Optimizer] = []
    for run in (found, expected):
        one = run.optimizers
        one["means"] = torch.optim.SGD([run.params["means"]], lr=0.1, momentum=0.9)
        one["scales"] = torch.optim.Adam([run.params["scales"]], lr=0.1, amsgrad=True)
        one["quats"] = torch.optim.Adam([run.params["quats"]], lr=0.1, weight_decay=0.1)
        one["opacities"].register_step_post_hook(lambda optimizer, *_: calls.append(optimizer))
        one["sh0"] = torch.optim.AdamW([run.params["sh0"]], lr=torch.tensor(0.1), maximize=True)
    for step in range(3):
        for run in (found, expected):
            run.give_gradients(step)
        adam.update(found.optimizers)
        torch_step(expected)
    assert_equal_to_rounding(found, expected)
    assert calls.count(found.optimizers["opacities"]) == 3
    mask = torch.arange(N, device=device) % 2 == 0
    before = found.values()
    found.give_gradients(3)
    adam.update(found.optimizers, mask)
    for name, value in found.tensors():
        if value.dim():
            assert torch.equal(value[~mask], before[name][~mask]), name
            assert not torch.equal(value[mask], before[name][mask]), name


CASES = {name: case for name, case in globals().items() if name.startswith("case_")}


@contextmanager
def counted_launches() -> Iterator[list[int]]:
    """How many parameters each launch of the kernel steps."""
    from gs_densify.model import adam_triton

    original, launches = adam_triton.step_rows, []

    def counted(steps: list, *arguments: object) -> None:
        launches.append(len(steps))
        original(steps, *arguments)

    adam_triton.step_rows = counted
    try:
        yield launches
    finally:
        adam_triton.step_rows = original


if __name__ == "__main__":
    adam._runs_kernels = lambda parameter: True
    with counted_launches() as launches:
        for name, case in CASES.items():
            case("cpu")
            print(name, launches)
            assert launches, f"{name} never ran the kernel"
            launches.clear()
