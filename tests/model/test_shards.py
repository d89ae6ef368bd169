"""Dealing a model out: no row is lost, and what counts Gaussians is dealt with them."""

import torch

from gs_densify.distributed.group import Group
from gs_densify.model.gaussians import Gaussians
from gs_densify.model.init import NAMES, create_optimizers, to_parameters
from gs_densify.model.shards import dealt, share_of_rows
from gs_densify.model.state import State

WIDTHS = {"means": (3,), "scales": (3,), "quats": (4,), "opacities": (), "sh0": (1, 3)}


def model_of(count: int) -> Gaussians:
    values = {name: torch.randn(count, *WIDTHS.get(name, (3, 3))) for name in NAMES}
    values["means"][:, 0] = torch.arange(count)
    params = to_parameters(values, torch.device("cpu"))
    optimizers = create_optimizers(params, dict.fromkeys(NAMES, 0.1))
    for name, one in params.items():
        one.grad = torch.ones_like(one) if name != "shN" else None
        optimizers[name].step()
    state = State({"seen": torch.arange(count), "table": torch.zeros(count), "num_at_start": 8})
    state.declare(["seen"])
    state.without_rows.add("table")
    return Gaussians(params, optimizers, state)


def test_shares_are_all_rows_and_none_twice():
    shares = [share_of_rows(1001, Group(rank, 3)) for rank in range(3)]
    assert [len(one) for one in shares] == [334, 334, 333]
    assert torch.equal(torch.cat(shares).sort().values, torch.arange(1001))
    even = [int((one % 2 == 0).sum()) for one in shares]
    assert all(120 < count < 220 for count in even)  # no share has a pattern's one half


def test_each_process_gets_its_rows_of_everything():
    contents = model_of(11).state_dict()
    parts = [dealt(contents, Group(rank, 2), ("num_at_start",)) for rank in range(2)]
    for rank, part in enumerate(parts):
        mine = share_of_rows(11, Group(rank, 2))
        assert torch.equal(part["splats"]["means"][:, 0].ceil(), mine.float())
        assert torch.equal(part["gradients"]["quats"], torch.ones(len(mine), 4))
        moments = part["optimizers"]["sh0"]["state"][0]
        theirs = contents["optimizers"]["sh0"]["state"][0]
        assert torch.equal(moments["exp_avg_sq"], theirs["exp_avg_sq"][mine])
        assert moments["step"] == theirs["step"]
        assert torch.equal(part["strategy_state"]["seen"], mine)
        assert len(part["strategy_state"]["table"]) == 11
        assert part["strategy_state"]["num_at_start"] == 4
    assert len(contents["splats"]["means"]) == 11
