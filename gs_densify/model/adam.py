"""The step of a model's optimisers: on CUDA all plain Adams in one kernel, else torch's own.

A rasteriser may make it in its backward pass, where it has the gradients (`UpdateInBackward`).

The kernel's Adam keeps the state of torch.optim.Adam, with `step` on the host, where it is read
without waiting for the GPU; so does torch's own step unless it is fused.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Adam, AdamW, Optimizer

from gs_densify.kernels import HAS_TRITON
from gs_densify.model import home
from gs_densify.model.types import Splats


class _WithoutCompiler:
    """Methods of an optimiser as they were before torch decorated them for torch.compile.

    At their first call the decorated ones import torch's compiler, which takes one to four seconds.
    """

    add_param_group = inspect.unwrap(Optimizer.add_param_group)
    state_dict = inspect.unwrap(Optimizer.state_dict)
    load_state_dict = inspect.unwrap(Optimizer.load_state_dict)
    step = torch.no_grad()(inspect.unwrap(Adam.step))  # AdamW's is Adam's


class QuickAdam(_WithoutCompiler, Adam):
    """torch.optim.Adam, not differentiable itself."""


class QuickAdamW(_WithoutCompiler, AdamW):
    """torch.optim.AdamW, likewise."""


_PLAIN = (Adam, AdamW, QuickAdam, QuickAdamW)


_ROWS = 2**18
"""Rows that are stepped at a time, for want of memory: 47 MB a tensor of 45 floats a row."""


class Step(NamedTuple):
    """A parameter [N,...] with its moments, and the factors of its next step.

    exp_avg and exp_avg_sq move by the weights towards the gradient and its square. The parameter is
    multiplied by `decay`, then moves against exp_avg / (sqrt(exp_avg_sq) + `eps`) times `size`; the
    bias corrections are in these factors.
    """

    parameter: Tensor
    exp_avg: Tensor
    exp_avg_sq: Tensor
    size: float
    eps: float
    decay: float
    weight1: float
    weight2: float


class UpdateInBackward:
    """Steps of optimisers for a backward pass to make where it finds the gradients.

    These never reach memory: two of the seven tensors that Adam moves.
    """

    def __init__(
        self,
        optimizers: Mapping[str, Optimizer],
        drawn: Splats | None = None,
        *,
        is_due: Callable[[], bool] = lambda: True,
    ) -> None:
        """Takes the optimisers, by name; where `is_due` says no, a backward pass is somebody
        else's, and makes none of the steps.
        """
        self._optimizers, self._drawn, self._is_due = optimizers, drawn or {}, is_due

    def through(self, drawn: Splats) -> UpdateInBackward:
        """Returns the steps where `drawn` is rendered in place of the parameters of these names.

        What differs from a parameter must have the gradient that the parameter would get.
        """
        return UpdateInBackward(self._optimizers, drawn, is_due=self._is_due)

    @torch.no_grad()
    def take(self, inputs: Mapping[str, Tensor | None]) -> dict[str, Step]:
        """Returns, by name, next steps of inputs that stand for parameters of plain Adams.

        They count as made. A parameter that has a gradient already, to which others are to be
        added, or whose gradient somebody waits for with a hook is not among them.
        """
        taken: dict[str, Step] = {}
        if not self._is_due():
            return taken
        for name, value in inputs.items():
            optimizer = self._optimizers.get(name)
            if value is None or optimizer is None or not _is_plain_adam(optimizer):
                continue
            group = optimizer.param_groups[0]
            parameter = group["params"][0]
            if (
                parameter.grad is None
                and self._drawn.get(name, parameter).data_ptr() == value.data_ptr()
                and not (parameter._backward_hooks or parameter._post_accumulate_grad_hooks)
            ):
                taken[name] = _next_step(parameter, group, optimizer.state[parameter])
        return taken


@torch.no_grad()
def update(optimizers: Mapping[str, Optimizer], visible: Tensor | None = None) -> None:
    """Steps every optimiser and sets the gradients to None; without a gradient nothing is stepped.

    Where `visible` [N] (bool) is given, only these rows of the parameters [N,...] are updated;
    other rows and their moments stay as they are (Taming 3DGS, arXiv 2406.15643). The bias
    correction of all rows is that of a row that was always visible. The same holds of a parameter
    with a gradient of some rows (`row_gradients`): these alone are updated.

    Raises:
        ValueError: `visible` is not boolean, or not as long as a parameter.
    """
    if visible is not None:
        _check(visible, optimizers)
        visible = visible.contiguous()
    others = _step_with_kernel(optimizers.values(), visible)
    for optimizer in others:
        _step_with_torch(optimizer, visible)
        for parameter in _parameters(optimizer):
            parameter.grad = None


def _step_with_kernel(optimizers: Iterable[Optimizer], visible: Tensor | None) -> list[Optimizer]:
    """Steps the plain Adams, and returns the other optimisers.

    It makes one launch, or one for each number of rows where parameters differ.
    """
    launches: dict[int, list[tuple[Tensor, Step]]] = {}
    others = []
    for optimizer in optimizers:
        if _is_without_gradient(optimizer):
            continue
        if not _is_plain_adam(optimizer):
            others.append(optimizer)
            continue
        group = optimizer.param_groups[0]
        parameter = group["params"][0]
        if parameter.grad is not None and parameter.numel():
            step = _next_step(parameter, group, optimizer.state[parameter])
            launches.setdefault(parameter.shape[0], []).append((parameter.grad.contiguous(), step))
        parameter.grad = None
    if launches:
        from gs_densify.model.adam_triton import step_rows

        for rows, steps in launches.items():
            step_rows(steps, rows, visible)
    return others


def _is_without_gradient(optimizer: Optimizer) -> bool:
    """Returns whether a step would do nothing."""
    if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
        return False
    return all([parameter.grad is None for parameter in _parameters(optimizer)])


def _is_plain_adam(optimizer: Optimizer) -> bool:
    """Returns whether the kernel gives what `optimizer.step()` would."""
    if type(optimizer) not in _PLAIN or len(optimizer.param_groups) != 1:
        return False
    group = optimizer.param_groups[0]
    if len(group["params"]) != 1:
        return False
    parameter = group["params"][0]
    return not (
        not _runs_kernels(parameter)
        or parameter.dtype != torch.float32
        or not parameter.is_contiguous()
        or (parameter.grad is not None and parameter.grad.is_sparse)
        or any(not one.is_contiguous() for one in optimizer.state.get(parameter, {}).values())
        or (group["amsgrad"] or group["maximize"] or group["differentiable"] or group["capturable"])
        or isinstance(group["lr"], Tensor)
        or (group["weight_decay"] != 0 and not group["decoupled_weight_decay"])
        or (optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks)
    )


def _runs_kernels(parameter: Tensor) -> bool:
    return parameter.is_cuda and HAS_TRITON


def _next_step(parameter: Tensor, group: dict[str, Any], state: dict[str, Any]) -> Step:
    """Counts the step in `state`, which is made where it is empty."""
    if not state:
        state["step"] = torch.tensor(0.0)
        state["exp_avg"], state["exp_avg_sq"] = (home.zeros_like(parameter) for _ in range(2))
    elif not state["step"].is_cpu:  # of torch's fused step, or loaded to the GPU
        state["step"] = state["step"].cpu()
    group["fused"] = None  # torch's fused step would take `step` for a tensor on the GPU
    step, (beta1, beta2) = state["step"].item() + 1, group["betas"]
    state["step"].fill_(step)
    correction = math.sqrt(1 - beta2**step)
    return Step(
        parameter,
        state["exp_avg"],
        state["exp_avg_sq"],
        size=group["lr"] * correction / (1 - beta1**step),
        eps=group["eps"] * correction,
        decay=1.0 - group["lr"] * group["weight_decay"],
        weight1=1.0 - beta1,
        weight2=1.0 - beta2,
    )


def _step_with_torch(optimizer: Optimizer, visible: Tensor | None) -> None:
    """Steps an optimiser by torch's own code, in the rows of `visible` alone where it is given.

    torch updates all rows; those that are not visible get back their values and moments.
    """
    if any(one.grad is not None and one.grad.is_sparse for one in _parameters(optimizer)):
        _step_some_rows(optimizer)
        return
    _align_gradients(optimizer)
    if visible is None:
        optimizer.step()
        return
    hidden = ~visible
    before = {
        parameter: (parameter[hidden], _rows_of(optimizer.state.get(parameter, {}), hidden))
        for parameter in _parameters(optimizer)
    }
    optimizer.step()
    for parameter, (values, moments) in before.items():
        parameter[hidden] = values
        for key in _rows_of(optimizer.state.get(parameter, {}), hidden):
            optimizer.state[parameter][key][hidden] = moments.get(key, 0.0)


def _step_some_rows(optimizer: Optimizer) -> None:
    """Steps the rows of a plain Adam's parameter [N,...] of which it has a gradient.

    Parameter and moments may lie in host memory: what is read and written of them are these rows.
    """
    group = optimizer.param_groups[0]
    parameter, (beta1, beta2) = group["params"][0], group["betas"]
    gradient = parameter.grad.coalesce()
    one = _next_step(parameter, group, optimizer.state[parameter])
    rows, gradients = gradient.indices()[0], gradient.values()
    whole = parameter.detach(), one.exp_avg, one.exp_avg_sq
    for some, grad in zip(rows.split(_ROWS), gradients.split(_ROWS), strict=True):
        value, average, square = (tensor.index_select(0, some) for tensor in whole)
        average.lerp_(grad, 1 - beta1)
        square.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        value.mul_(one.decay).addcdiv_(average, square.sqrt().add_(one.eps), value=-one.size)
        for tensor, changed in zip(whole, (value, average, square), strict=True):
            tensor.index_copy_(0, some, changed)


def _align_gradients(optimizer: Optimizer) -> None:
    """Gives gradients the strides of their parameters; torch 2.13 fused on a CPU takes them so."""
    for parameter in _parameters(optimizer):
        grad = parameter.grad
        if grad is None or grad.is_sparse or grad.stride() == parameter.stride():
            continue
        parameter.grad = torch.empty_like(parameter).copy_(grad)


def _rows_of(state: Mapping[str, Any], rows: Tensor) -> dict[str, Tensor]:
    """Returns the given rows of each moment in an optimiser's state of one parameter."""
    return {
        key: value[rows]
        for key, value in state.items()
        if isinstance(value, Tensor) and value.dim() and len(value) == len(rows)
    }


def _check(visible: Tensor, optimizers: Mapping[str, Optimizer]) -> None:
    if visible.dtype != torch.bool:
        raise ValueError(f"visible is {visible.dtype}; it must be boolean")
    for name, optimizer in optimizers.items():
        for parameter in _parameters(optimizer):
            if visible.shape != parameter.shape[:1]:
                found, rows = tuple(visible.shape), len(parameter)
                raise ValueError(f"visible has shape {found}; '{name}' has {rows} rows")


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
