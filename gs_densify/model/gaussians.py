"""A model in training: its parameters, their optimisers and a strategy's statistics in one object.

Whatever moves the rows of a model moves them here, so that parameters, gradients that are summed
over several steps, optimiser moments and statistics stay in step. Nothing is tied to a device.
"""

from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from gs_densify.errors import StrategyError
from gs_densify.model import home, row_gradients
from gs_densify.model.state import State, may_have_rows, rows_of

Params: TypeAlias = MutableMapping[str, Any] | torch.nn.ParameterDict
Optimizers: TypeAlias = Mapping[str, torch.optim.Optimizer]


class Gaussians(NamedTuple):
    """N Gaussians as gsplat's operations take them: `ops.split(*gaussians, mask)`.

    A view of what it is made of: operations change the three in place, and it shows their present
    contents.
    """

    params: Params
    """Parameters with N rows each: `means [N,3]`, `scales [N,3]` (log), `quats [N,4]` (wxyz),
    `opacities [N]` (logit), and others."""
    optimizers: Optimizers
    """One optimiser, of one group, for each parameter that is trained."""
    state: MutableMapping[str, Any]
    """A strategy's statistics. Those with a row for each Gaussian follow every operation: a `State`
    knows which they are, of a plain dictionary the tensors of N rows are taken."""

    @property
    def num(self) -> int:
        """Returns the number N of Gaussians."""
        return len(self.params["means"])

    @property
    def opacities(self) -> Tensor:
        """Opacities [N] in (0, 1)."""
        return self.params["opacities"].detach().flatten().sigmoid()

    @property
    def largest_scales(self) -> Tensor:
        """Returns the largest of the three scales of each Gaussian, [N], in world units."""
        return self.params["scales"].detach().amax(dim=-1).exp()

    def rows(self, mask: Tensor) -> Tensor:
        """Returns the rows in `mask`, which must be boolean with one entry for each Gaussian."""
        if mask.dtype != torch.bool or mask.shape != (self.num,):
            raise StrategyError(
                f"a mask of {len(mask)} entries ({str(mask.dtype).removeprefix('torch.')}) was"
                f" given for {self.num} Gaussians",
                action="make it after the last operation, boolean, shape [N]",
            )
        return torch.where(mask)[0]

    def gather(
        self,
        kept: Tensor | None,
        added: Tensor,
        *,
        copies_statistics: bool = True,
        tail: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Lets rows `kept` (None: all) stay, and appends copies of rows `added`.

        The copies' moments and gradients are zero, and their statistics are where they are not
        copied too. `tail` overrides the last rows of parameters.
        """
        with_rows = rows_of(self.state, self.num)
        for name, old in list(self.params.items()):
            value = _joined(old.detach(), kept, added, copies=True)
            if tail is not None and name in tail:
                value[len(value) - len(tail[name]) :] = tail[name].to(value.dtype)
            gradient = None
            if old.grad is not None:
                gradient = _joined_gradient(old.grad, kept, added)
            self._install(
                name, value, gradient, lambda one: _joined(one, kept, added, copies=False)
            )
        for name in with_rows:
            self.state[name] = _joined(self.state[name], kept, added, copies=copies_statistics)

    def copy_rows(self, targets: Tensor, sources: Tensor) -> None:
        """Copies rows `sources` of parameters to `targets`; the sources lose what was gathered.

        Tensors stay where they are: a refinement that moves a few Gaussians need not copy them all.
        Like every operation it makes new parameters. Gradients of both, of what they were before,
        are zeroed; moments and statistics of the targets stay.
        """

        def without_sources(rows: Tensor) -> Tensor:
            rows[sources] = 0
            return rows

        with_rows = rows_of(self.state, self.num)
        for name, old in list(self.params.items()):
            value, gradient = old.detach(), old.grad
            value[targets] = value[sources]
            if gradient is not None and gradient.is_sparse:
                gradient = row_gradients.without(gradient, torch.cat([targets, sources]))
            elif gradient is not None:
                gradient[targets] = 0
                gradient[sources] = 0
            self._install(name, value, gradient, without_sources)
        for name in with_rows:
            without_sources(self.state[name])

    def rebuild(self, values: Mapping[str, Tensor]) -> None:
        """Replaces the model by `values` (every parameter, N' rows) and forgets all moments.

        Statistics of N rows become zeros of N' rows, and so do gradients.
        """
        missing = sorted(set(self.params) - set(values))
        if missing:
            raise StrategyError(f"rebuild: values for {missing} are missing")
        with_rows, after = rows_of(self.state, self.num), len(values["means"])
        for name, old in list(self.params.items()):
            value = values[name].detach()
            is_fit = value.dtype == old.dtype and value.device == old.device
            if not is_fit or home.is_in_host_memory(old) != home.is_in_host_memory(value):
                value = home.copied(value, old)
            gradient = None
            if old.grad is not None:
                gradient = old.grad.new_zeros(value.shape)
            if name in self.optimizers:
                self.optimizers[name].state.pop(old, None)
            self._install(name, value, gradient)
        for name in with_rows:
            rows = self.state[name]
            self.state[name] = rows.new_zeros(after, *rows.shape[1:])

    def to_host_memory(self, names: Iterable[str]) -> None:
        """Moves the named parameters with their moments to host memory, where they lie elsewhere.

        What has a row for each of their rows is made there from then on.
        """
        for name in names:
            value = self.params[name].detach()
            if not home.is_in_host_memory(value):
                gradient = self.params[name].grad
                self._install(name, home.in_host_memory(value), gradient, home.in_host_memory)

    def forget_moments(
        self, names: Iterable[str] | None = None, rows: Tensor | None = None
    ) -> None:
        """Zeroes the moments of the named parameters (None: of all) in `rows` (None: in all).

        `rows` are indices or a mask [N]. A parameter that is not trained has no moments.
        """
        for name in set(self.optimizers) & set(self.optimizers if names is None else names):
            parameter = self.params[name]
            for moment in _moments_of(self.optimizers[name], parameter).values():
                if rows is None:
                    moment.zero_()
                else:
                    moment[rows] = 0

    def out_of_step(self, before: int) -> str | None:
        """Returns in words what does not have N rows; None when all fits. Looks at shapes only.

        `before` is the number of rows before the model was changed.
        """
        num = self.num
        for name, value in self.params.items():
            if len(value) != num:
                return f"'{name}' has {len(value)} rows, 'means' has {num}"
            problem = self._problem_of_optimizer(name, value) if name in self.optimizers else None
            if problem:
                return problem
        return self.problem_of_state(before)

    def state_dict(self) -> dict[str, Any]:
        """Returns all that changes while training, as a checkpoint holds it."""
        return {
            "splats": {name: value.detach() for name, value in self.params.items()},
            "optimizers": {name: one.state_dict() for name, one in self.optimizers.items()},
            "strategy_state": dict(self.state),
            "strategy_rows": self.state.described() if isinstance(self.state, State) else None,
            "gradients": {
                name: value.grad for name, value in self.params.items() if value.grad is not None
            },
        }

    def load_state_dict(self, contents: Mapping[str, Any]) -> None:
        """Takes what `state_dict` gave, in place, on the present device."""
        device = self.params["means"].device
        for name, old in list(self.params.items()):
            gradient = contents["gradients"].get(name)
            if gradient is not None:
                gradient = gradient.to(device, copy=True)
            self._install(name, home.copied(contents["splats"][name].detach(), old), gradient)
        for name, optimizer in self.optimizers.items():
            self._load_optimizer(optimizer, contents["optimizers"][name], self.params[name])
        self.state.clear()
        self.state.update(contents["strategy_state"])
        if isinstance(self.state, State):
            self.state.restore_rows(contents.get("strategy_rows"))

    def _load_optimizer(
        self, optimizer: torch.optim.Optimizer, contents: dict[str, Any], parameter: Tensor
    ) -> None:
        """Gives an optimiser its state; moments go where `parameter` lies, by no other way."""
        states = contents["state"]
        moments = [k for k, one in states.get(0, {}).items() if _is_moment(one, parameter)]
        others = {i: {k: states[i][k] for k in states[i] if k not in moments} for i in states}
        optimizer.load_state_dict({**contents, "state": others})
        for key in moments:
            optimizer.state[parameter][key] = home.copied(states[0][key], parameter)

    def _install(
        self,
        name: str,
        value: Tensor,
        gradient: Tensor | None,
        moved: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        """Makes `value` the parameter `name`, which its optimiser trains from now on.

        `moved` gives each moment its new rows; None leaves the optimiser's state as it is.
        """
        old = self.params[name]
        new = torch.nn.Parameter(value, requires_grad=old.requires_grad)
        new.grad = gradient
        self.params[name] = new
        if name not in self.optimizers:
            return
        optimizer = self.optimizers[name]
        optimizer.param_groups[0]["params"] = [new]
        entries = optimizer.state.pop(old, {})
        if moved is not None:
            for key, moment in entries.items():
                if _is_moment(moment, old):
                    entries[key] = moved(moment)
        if entries:
            optimizer.state[new] = entries

    def _problem_of_optimizer(self, name: str, parameter: Tensor) -> str | None:
        optimizer = self.optimizers[name]
        trained = optimizer.param_groups[0]["params"][0]
        if trained is not parameter:
            return f"the optimiser of '{name}' trains another tensor (of {len(trained)} rows)"
        for key, moment in optimizer.state.get(parameter, {}).items():
            has_rows = isinstance(moment, Tensor) and moment.dim() > 0
            if has_rows and not _is_moment(moment, parameter):
                return (
                    f"'{key}' of the optimiser of '{name}' has shape {tuple(moment.shape)},"
                    f" the parameter {tuple(parameter.shape)}"
                )
        return None

    def problem_of_state(self, before: int) -> str | None:
        """Returns what of `out_of_step` is about statistics alone."""
        for key, value in self.state.items():
            if not isinstance(key, str):
                return f"`state` has the key {key!r}, which is no text"
            has_rows = isinstance(value, Tensor) and value.dim() > 0
            is_forgotten = has_rows and self.num != before == len(value)
            if is_forgotten and may_have_rows(self.state, key):
                return f"statistic '{key}' has {before} rows, the model {self.num}"
        try:
            rows_of(self.state, self.num)
        except StrategyError as error:
            return str(error)
        return None


def _joined(tensor: Tensor, kept: Tensor | None, added: Tensor, *, copies: bool) -> Tensor:
    """Returns rows `kept` (None: all) of `tensor`, then rows `added`, or zeros in place of
    these.
    """
    num = len(tensor) if kept is None else len(kept)
    new = home.new_empty(tensor, num + len(added))
    if kept is None:
        new[:num] = tensor
    else:
        torch.index_select(tensor, 0, kept, out=new[:num])
    new[num:] = tensor[added] if copies else 0
    return new


def _joined_gradient(gradient: Tensor, kept: Tensor | None, added: Tensor) -> Tensor:
    """Returns rows `kept` (None: all) of a gradient, dense or of rows, and zeros for `added`."""
    if gradient.is_sparse:
        return row_gradients.gathered(gradient, kept, len(added))
    return _joined(gradient, kept, added, copies=False)


def _is_moment(entry: object, parameter: Tensor) -> bool:
    """Returns whether an entry of an optimiser's state has a row for each of the parameter's."""
    return isinstance(entry, Tensor) and entry.shape == parameter.shape


def _moments_of(optimizer: torch.optim.Optimizer, parameter: Tensor) -> dict[str, Tensor]:
    entries = optimizer.state.get(parameter, {})
    return {key: one for key, one in entries.items() if _is_moment(one, parameter)}
