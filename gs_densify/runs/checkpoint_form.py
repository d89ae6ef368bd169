"""What a checkpoint must hold: whole archives can have contents that no run has written.

`check_contents` is for whoever reads a checkpoint with a model in it, `check_training` for a run
that goes on from it: it compares with what a trainer at step 0 has.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from gs_densify.entry_points import described
from gs_densify.errors import GsDensifyError, ResultError
from gs_densify.memory.shortage import is_shortage
from gs_densify.model.form import has_shared_elements
from gs_densify.model.init import NAMES
from gs_densify.model.sh import MAX_DEGREE, num_sh_bases

_MAY_LACK = ("summed", "modules", "strategy_rows")
"""Entries that earlier versions did not write."""


def check_contents(contents: Mapping[str, Any], path: Path) -> None:
    """Refuses a checkpoint that takes more memory than its file, or is of no step or SH degree.

    Args:
        contents: with the parameters of Gaussians.
        path: of the checkpoint.

    Raises:
        ResultError: with the place and what is there.
    """
    whole = _Part(contents, str(path))
    for place, tensor in tensors_in(contents, str(path)):
        if shares_memory(tensor):
            _Part(tensor, place).refuse("a tensor whose elements share memory")
    splats = whole.entry("splats")
    num = len(splats.value["means"])
    rests = [(num, num_sh_bases(degree) - 1, 3) for degree in range(MAX_DEGREE + 1)]
    splats.entry("shN").tensor(*rests)
    if num == 0:
        splats.refuse("no Gaussian")
    whole.entry("step").count(least=1)
    if "run" in contents:
        whole.entry("run").mapping()


def check_training(
    contents: Mapping[str, Any],
    fresh: Mapping[str, Any],
    path: Path,
    *,
    num_views: int,
    steps: int,
) -> None:
    """Refuses a checkpoint from which a run cannot go on.

    Args:
        contents: what `check_contents` let pass.
        fresh: the state of the run's trainer and random generators before the first step.
        path: the checkpoint.
        num_views: training views of the run.
        steps: the last step of the run.

    Raises:
        ResultError: with the place, what is there, and what was expected.
    """
    whole = _Part(contents, str(path))
    whole.has([name for name in fresh if name not in _MAY_LACK])
    whole.entry("step").count(least=1, most=steps)
    whole.entry("train_seconds").number()
    for name in ("peak_gaussians", "summed"):
        if name in contents:
            whole.entry(name).count()
    splats = contents["splats"]
    shapes = {name: (len(splats["means"]), *fresh["splats"][name].shape[1:]) for name in NAMES}
    for name, shape in shapes.items():
        whole.entry("splats").entry(name).tensor(shape)
        optimizer = whole.entry("optimizers").entry(name)
        _check_optimizer(optimizer, fresh["optimizers"][name], [shape])
    gradients = whole.entry("gradients").mapping()
    for name in gradients.value:
        _check_gradient(gradients.entry(name), [shapes[name]] if name in shapes else [])
    if contents["drawn"] is not None:
        whole.entry("drawn").tensor(shapes["opacities"], dtype=torch.bool)
    whole.entry("strategy_state").mapping(keys=str)
    if contents.get("strategy_rows") is not None:
        _check_rows(whole.entry("strategy_rows"))
    _check_queue(whole.entry("sampler").entry("queue"), num_views)
    whole.entry("sampler").entry("random").is_generator()
    if "modules" in contents:
        _check_modules(whole.entry("modules"), fresh["modules"])
    generators = whole.entry("random")
    for name in ("torch", "cuda", "numpy"):
        part = generators.entry(name)
        if fresh["random"][name] is not None:  # else the run goes on where there is no CUDA device
            part.is_like(fresh["random"][name])
    generators.entry("python").is_generator()


class _Part:
    """A value in a checkpoint, and its place."""

    def __init__(self, value: Any, place: str) -> None:
        self.value, self.place = value, place

    def refuse(self, found: str, expected: str = "") -> NoReturn:
        raise ResultError(
            f"{self.place}: {found}",
            expected=expected and f"expected {expected}",
            action="take another checkpoint of the run, or train again",
        )

    def entry(self, name: Any) -> "_Part":
        """Returns an entry of a mapping."""
        self.has([name])
        return _Part(self.value[name], f"{self.place}: {name}")

    def has(self, names: Collection[Any]) -> None:
        missing = [name for name in names if name not in self.mapping().value]
        if missing:
            self.refuse(f"{', '.join(map(str, missing))} missing")

    def mapping(self, keys: type = object) -> "_Part":
        if not isinstance(self.value, dict):
            self.refuse(f"is {_kind(self.value)}", "a dictionary")
        if not all(isinstance(key, keys) for key in self.value):
            self.refuse("has keys that are no names")
        return self

    def items(self, length: int | None = None) -> list["_Part"]:
        """Returns the items of a list or tuple."""
        if not isinstance(self.value, list | tuple):
            self.refuse(f"is {_kind(self.value)}", "a list")
        if length not in (None, len(self.value)):
            self.refuse(f"has {len(self.value)} items", f"{length}")
        return [_Part(item, f"{self.place}: {index}") for index, item in enumerate(self.value)]

    def count(self, least: int = 0, most: float = math.inf) -> None:
        if type(self.value) is not int or not least <= self.value <= most:
            self.refuse(f"is {_kind(self.value)}", f"a whole number from {least} to {most}")

    def number(self, below: float = math.inf) -> None:
        if type(self.value) not in (int, float) or not 0 <= self.value < below:
            limit = "a finite number" if below == math.inf else f"a number below {below}"
            self.refuse(f"is {_kind(self.value)}", f"{limit} of at least 0")

    def tensor(
        self,
        *shapes: Sequence[int],
        dtype: torch.dtype = torch.float32,
        is_finite: bool = False,
    ) -> "_Part":
        """Refuses what is no dense tensor of this type and one of these shapes (none: with
        rows).
        """
        value = self.value
        is_dense = isinstance(value, Tensor) and value.layout is torch.strided
        if not is_dense or value.dtype != dtype or value.is_meta:
            self.refuse(f"is {_kind(value)}", f"a tensor of {_short(dtype)}")
        if value.dim() == 0 if not shapes else value.shape not in list(map(torch.Size, shapes)):
            wanted = " or ".join(str(tuple(shape)) for shape in shapes) or "rows"
            self.refuse(f"has shape {tuple(value.shape)}", wanted)
        if is_finite and not value.isfinite().all():
            self.refuse("has values that are infinite or NaN")
        return self

    def is_like(self, other: Any) -> None:
        """Refuses a value of other types, keys, lengths, shapes, texts and flags than `other`."""
        if isinstance(other, dict):
            self.mapping().has(list(other))
            for name, value in other.items():
                self.entry(name).is_like(value)
        elif isinstance(other, list | tuple):
            parts = self.items(len(other))
            for part, value in zip(parts, other, strict=True):
                part.is_like(value)
        elif isinstance(other, Tensor):
            self.tensor(other.shape, dtype=other.dtype)
        elif isinstance(other, str | bool) or other is None:
            if type(self.value) is not type(other) or self.value != other:
                self.refuse(f"is {_kind(self.value)}", str(other))
        elif isinstance(other, int):
            self.count()
        else:
            self.number()

    def is_generator(self) -> None:
        """Refuses what is no state of one of Python's random generators."""
        version, numbers, gauss = self.items(3)
        version.count(least=3, most=3)
        for number in numbers.items(625):
            number.count(most=2**32 - 1)
        if not isinstance(gauss.value, float | None):
            gauss.refuse(f"is {_kind(gauss.value)}", "a number or nothing")


def _check_optimizer(
    optimizer: _Part, fresh: Mapping[str, Any], shapes: Sequence[Sequence[int]]
) -> None:
    """Refuses an optimiser's state that does not fit its parameters of some shapes."""
    groups, state = optimizer.entry("param_groups"), optimizer.entry("state").mapping()
    group_states = groups.items(len(fresh["param_groups"]))
    for group, other in zip(group_states, fresh["param_groups"], strict=True):
        group.is_like({key: value for key, value in other.items() if key != "fused"})
        if not isinstance(group.value.get("fused"), bool | None):  # a kernel of ours unsets it
            group.entry("fused").refuse(f"is {_kind(group.value['fused'])}", "a flag")
        if group.value["params"] != other["params"]:
            group.entry("params").refuse("is of other parameters")
        for beta in group.entry("betas").items() if "betas" in other else ():
            beta.number(below=1.0)
    for index in state.value:
        if type(index) is not int or not 0 <= index < len(shapes):
            state.refuse(f"is of a parameter {index}", f"{len(shapes)} of them")
        moments = state.entry(index).mapping(keys=str)
        if "betas" in fresh["param_groups"][0]:
            moments.has(["step", "exp_avg", "exp_avg_sq"])
        for name in moments.value:
            shape = () if name == "step" else shapes[index]
            moments.entry(name).tensor(shape, is_finite=True)


def _check_gradient(gradient: _Part, shapes: Sequence[Sequence[int]]) -> None:
    """Refuses what is no gradient of a parameter of one of some shapes (none: with rows), dense or
    of some of its rows (`row_gradients`).
    """
    value = gradient.value
    if not isinstance(value, Tensor) or value.layout is not torch.sparse_coo:
        gradient.tensor(*shapes)
        return
    if value.sparse_dim() != 1:
        gradient.refuse(f"has elements along {value.sparse_dim()} axes", "rows")
    rows = value._indices()
    if rows.numel() and not 0 <= int(rows.min()) <= int(rows.max()) < len(value):
        gradient.refuse(f"has rows beyond its {len(value)}")
    _Part(value._values(), gradient.place).tensor(
        *((rows.shape[1], *shape[1:]) for shape in shapes)
    )
    if shapes and value.shape not in list(map(torch.Size, shapes)):
        gradient.refuse(f"has shape {tuple(value.shape)}", str(tuple(shapes[0])))


def _check_rows(rows: _Part) -> None:
    """Refuses what does not say which statistics have rows."""
    rows.has(["is_declared", "with", "without"])
    for one in (*rows.entry("with").items(), *rows.entry("without").items()):
        if not isinstance(one.value, str):
            one.refuse(f"is {_kind(one.value)}", "a name")


def _check_queue(queue: _Part, num_views: int) -> None:
    """Refuses batches of views that the run does not have."""
    for batch in queue.items():
        views = batch.items()
        if not views:
            batch.refuse("is empty", "views")
        for view in views:
            view.count(most=num_views - 1)


def _check_modules(modules: _Part, fresh: Mapping[str, Any]) -> None:
    for name, one in fresh.items():
        module = modules.entry(name).mapping()
        module.entry("parameters").is_like(one["parameters"])
        gradients = module.entry("gradients").mapping()
        for key in gradients.value:
            if key in one["parameters"]:
                gradients.entry(key).is_like(one["parameters"][key])
        shapes = [value.shape for value in one["parameters"].values()]
        _check_optimizer(module.entry("optimizer"), one["optimizer"], shapes)


@contextmanager
def refusing_unfit(path: Path) -> Iterator[None]:
    """Makes an error of what takes a checkpoint's contents a ResultError, for example of a random
    generator that refuses its numbers.
    """
    try:
        yield
    except GsDensifyError:
        raise
    except Exception as error:
        if is_shortage(error):
            raise
        raise ResultError(
            f"{path}: its contents do not fit this run: {described(error)}",
            action="take another checkpoint of the run, or train again",
        ) from error


def shares_memory(tensor: Tensor) -> bool:
    """Returns whether elements share memory, as `expand` leaves them: a copy may take far more."""
    if tensor.layout is not torch.strided:
        return False
    if has_shared_elements(tensor):
        return True
    return tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()


def tensors_in(value: Any, place: str) -> Iterator[tuple[str, Tensor]]:
    """Yields the tensors in nested dictionaries, lists and tuples, and where they are."""
    if isinstance(value, Tensor):
        yield place, value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from tensors_in(item, f"{place}: {name}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from tensors_in(item, f"{place}: {index}")


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of {_short(value.dtype)} {tuple(value.shape)}"
    if isinstance(value, bool | int | float) or value is None:
        return str(value)
    return f"a {type(value).__name__}"


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
