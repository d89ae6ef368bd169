"""Rows that move: parameters, moments, gradients and statistics against lists of plain rows."""

import copy
import io

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gs_densify.errors import StrategyError
from gs_densify.model.gaussians import Gaussians
from gs_densify.model.init import create_optimizers, to_parameters
from gs_densify.model.state import State

TRAINED = ("means", "opacities")
STATISTICS = ("seen", "pair")
MOMENTS = ("exp_avg", "exp_avg_sq")


def _model(count: int, seed: int = 0, *, has_gradients: bool = True) -> Gaussians:
    """Parameters, of which one is not trained, with moments, summed gradients and statistics."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    values = {"means": draw(count, 3), "opacities": draw(count), "label": draw(count, 2)}
    params = to_parameters(values, torch.device("cpu"))
    params["label"].requires_grad_(False)
    optimizers = create_optimizers(
        {name: params[name] for name in TRAINED}, dict.fromkeys(TRAINED, 0.01)
    )
    for name in TRAINED:
        params[name].grad = draw(*params[name].shape)
        optimizers[name].step()
    if not has_gradients:
        params["opacities"].grad = None
    state = {"seen": draw(count), "pair": draw(count, 2), "table": draw(count), "scene_scale": 2.0}
    return Gaussians(params, optimizers, State(state, per_gaussian=STATISTICS))


def _rows(gaussians: Gaussians) -> list[dict[str, torch.Tensor]]:
    """All that belongs to each Gaussian, read tensor by tensor."""
    tensors = {}
    for name, parameter in gaussians.params.items():
        tensors[name] = parameter.detach()
        if parameter.grad is not None:
            tensors[f"{name} gradient"] = parameter.grad
    for name, optimizer in gaussians.optimizers.items():
        (group,) = optimizer.param_groups
        assert len(group["params"]) == 1 and group["params"][0] is gaussians.params[name]
        assert set(optimizer.state) <= {gaussians.params[name]}
        entries = optimizer.state.get(gaussians.params[name], {})
        tensors.update({f"{name} {key}": entries[key] for key in MOMENTS if key in entries})
    tensors.update({f"statistic {name}": gaussians.state[name] for name in STATISTICS})
    assert {len(one) for one in tensors.values()} == {gaussians.num}
    return [{key: one[i].clone() for key, one in tensors.items()} for i in range(gaussians.num)]


def _without(row: dict[str, torch.Tensor], *kinds: str) -> dict[str, torch.Tensor]:
    """The row with zeros where its entry is of one of these kinds."""
    is_kind = {key: any(kind in key for kind in kinds) for key in row}
    return {key: one * 0 if is_kind[key] else one for key, one in row.items()}


def _gather(gaussians: Gaussians, rows: list, data: st.DataObject) -> list:
    indices = st.integers(0, len(rows) - 1)
    kept = data.draw(st.none() | st.lists(indices, unique=True, min_size=1).map(sorted))
    added = data.draw(st.lists(indices, max_size=5))
    copies = data.draw(st.booleans())
    num_tail = data.draw(st.integers(0, len(added)))
    tail = {"opacities": torch.arange(float(num_tail))} if num_tail else None
    gaussians.gather(
        None if kept is None else torch.tensor(kept),
        torch.tensor(added, dtype=torch.long),
        copies_statistics=copies,
        tail=tail,
    )
    forgotten = ("gradient", "exp_avg") if copies else ("gradient", "exp_avg", "statistic")
    stayed = rows if kept is None else [rows[i] for i in kept]
    expected = [*stayed, *(_without(rows[i], *forgotten) for i in added)]
    for i in range(num_tail):
        expected[len(expected) - num_tail + i]["opacities"] = torch.tensor(float(i))
    return expected


def _copy_rows(gaussians: Gaussians, rows: list, data: st.DataObject) -> list:
    targets = data.draw(st.sets(st.integers(0, len(rows) - 1), max_size=len(rows) - 1))
    live = [i for i in range(len(rows)) if i not in targets]
    sources = [data.draw(st.sampled_from(live)) for _ in targets]
    gaussians.copy_rows(torch.tensor([*targets], dtype=torch.long), torch.tensor(sources).long())
    expected = list(rows)
    for target, source in zip(targets, sources, strict=True):
        own = {key: one for key, one in rows[target].items() if " " in key}
        expected[target] = _without({**rows[source], **own}, "gradient")
        expected[source] = _without(rows[source], "gradient", "exp_avg", "statistic")
    return expected


def _rebuild(gaussians: Gaussians, rows: list, data: st.DataObject) -> list:
    count = data.draw(st.integers(1, 6))
    values = {name: torch.randn(count, *one.shape[1:]) for name, one in gaussians.params.items()}
    gaussians.rebuild(values)
    blank = {key: one for key, one in _without(rows[0], " ").items() if "exp_avg" not in key}
    return [{**blank, **{name: one[i] for name, one in values.items()}} for i in range(count)]


def _forget_moments(gaussians: Gaussians, rows: list, data: st.DataObject) -> list:
    names = data.draw(st.none() | st.lists(st.sampled_from([*TRAINED, "label"])))
    chosen = data.draw(st.none() | st.sets(st.integers(0, len(rows) - 1)))
    is_mask = data.draw(st.booleans())
    mask = torch.tensor([chosen is None or i in chosen for i in range(len(rows))])
    where = mask if is_mask else torch.where(mask)[0]
    gaussians.forget_moments(names, None if chosen is None else where)
    kinds = [f"{name} exp_avg" for name in (TRAINED if names is None else names)]
    return [_without(row, *kinds) if mask[i] else row for i, row in enumerate(rows)]


@settings(max_examples=60)
@given(st.data())
def test_any_sequence_of_operations_keeps_every_row_in_step(data: st.DataObject) -> None:
    gaussians = _model(7, has_gradients=data.draw(st.booleans()))
    table, label = gaussians.state["table"], gaussians.params["label"]
    operations = st.sampled_from([_gather, _copy_rows, _rebuild, _forget_moments])
    for operation in data.draw(st.lists(operations, min_size=1, max_size=5)):
        before = gaussians.num
        expected = operation(gaussians, _rows(gaussians), data)
        found = _rows(gaussians)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert one.keys() == other.keys()
            for key, value in other.items():
                assert torch.equal(one[key], value), (operation.__name__, key)
        assert gaussians.out_of_step(before) is None
    assert gaussians.state["table"] is table and gaussians.state["scene_scale"] == 2.0
    assert gaussians.params["label"].requires_grad == label.requires_grad
    for name in TRAINED:  # the optimisers go on with what they have
        gaussians.params[name].grad = torch.ones_like(gaussians.params[name])
        value = gaussians.params[name].detach().clone()
        gaussians.optimizers[name].step()
        assert (gaussians.params[name] != value).all()


def test_steps_of_optimisers_are_kept_but_by_a_rebuilt_model() -> None:
    gaussians = _model(4)
    gaussians.gather(torch.tensor([0, 2]), torch.tensor([1]))
    gaussians.copy_rows(torch.tensor([0]), torch.tensor([1]))
    gaussians.forget_moments()
    assert gaussians.optimizers["means"].state[gaussians.params["means"]]["step"] == 1
    gaussians.rebuild({name: one.detach() for name, one in gaussians.params.items()})
    assert not gaussians.optimizers["means"].state


def test_activated_values_are_those_of_the_parameters_without_their_graph() -> None:
    opacities = torch.nn.Parameter(torch.tensor([[0.0], [2.0]]))
    scales = torch.nn.Parameter(torch.tensor([[0.0, 1.0, -1.0], [-2.0, -3.0, -4.0]]))
    gaussians = Gaussians({"opacities": opacities, "scales": scales}, {}, {})
    assert gaussians.opacities.tolist() == torch.sigmoid(torch.tensor([0.0, 2.0])).tolist()
    assert gaussians.largest_scales.tolist() == torch.tensor([1.0, -2.0]).exp().tolist()
    assert not (gaussians.opacities.requires_grad or gaussians.largest_scales.requires_grad)


@pytest.mark.parametrize("mask", [torch.ones(5, dtype=torch.bool), torch.ones(4)])
def test_masks_of_other_lengths_and_types_are_refused(mask: torch.Tensor) -> None:
    with pytest.raises(StrategyError, match=rf"mask of {len(mask)} entries.*for 4 Gaussians"):
        _model(4).rows(mask)


def test_it_unpacks_into_what_gsplats_operations_take() -> None:
    gaussians = _model(4)
    params, optimizers, state = gaussians
    assert params is gaussians.params and optimizers is gaussians.optimizers
    assert state is gaussians.state and gaussians.num == 4


def _stored(gaussians: Gaussians) -> dict:
    """What a checkpoint gives back."""
    buffer = io.BytesIO()
    torch.save(gaussians.state_dict(), buffer)
    return torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)


def test_what_is_saved_is_loaded_in_place_with_the_layout_of_earlier_checkpoints() -> None:
    saved = _model(6, seed=3, has_gradients=False)
    contents = _stored(saved)
    assert list(contents) == [
        *("splats", "optimizers", "strategy_state", "strategy_rows", "gradients")
    ]
    assert contents["strategy_rows"] == {
        "is_declared": True, "with": sorted(STATISTICS), "without": []
    }  # fmt: skip
    other = _model(9, seed=4)
    other.state["leftover"] = 1
    params, state = other.params, other.state
    other.load_state_dict(copy.deepcopy(contents))
    for i, row in enumerate(_rows(saved)):
        found = _rows(other)[i]
        assert found.keys() == row.keys()
        assert all(torch.equal(found[key], row[key]) for key in row)
    assert other.params is params and other.state is state
    assert dict(state).keys() == dict(saved.state).keys()
    assert state.described() == saved.state.described()


def test_a_checkpoint_that_knows_of_no_rows_is_read() -> None:
    contents = _stored(_model(6))
    del contents["strategy_rows"]
    loaded = _model(9)
    loaded.load_state_dict(contents)
    assert loaded.state.rows(6) == ["seen", "pair", "table"]
