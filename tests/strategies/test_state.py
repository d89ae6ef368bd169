"""Which entries of a strategy's state follow operations: what is declared, or was first seen so."""

import pytest
import torch
from splats_example import trained

from gs_densify.errors import StrategyError
from gs_densify.model.state import State, rows_of
from gs_densify.strategies import ops, statistics

N = 51


def _duplicated(state: dict) -> dict[str, tuple[int, ...]]:
    params, optimizers, _ = trained(N)
    ops.duplicate(params, optimizers, state, torch.arange(N) < 3)
    return {name: tuple(v.shape) for name, v in state.items() if isinstance(v, torch.Tensor)}


def test_what_is_not_declared_is_left_alone_whatever_its_length() -> None:
    state = State(
        {"binoms": torch.zeros(N, N), "per_view": torch.zeros(N), "score": torch.zeros(N, 2)},
        per_gaussian=("score",),
    )
    assert _duplicated(state) == {"binoms": (N, N), "per_view": (N,), "score": (N + 3, 2)}


def test_a_tensor_that_was_seen_with_another_length_is_never_taken_for_rows() -> None:
    state = State({"table": torch.zeros(N, 4), "sum": torch.zeros(60)})
    assert rows_of(state, 60) == ["sum"]
    state["sum"] = torch.zeros(N)  # the model shrank to the table's length
    assert _duplicated(state) == {"table": (N, 4), "sum": (N + 3,)}


def test_statistics_made_for_the_rows_are_declared_and_a_placeholder_is_undecided() -> None:
    state = State({"later": torch.zeros(0), "views": torch.zeros(7)})
    statistics.zeros_like_rows(state, ("grad2d",), torch.zeros(N, 3))
    assert rows_of(state, N) == ["grad2d"]
    state["later"] = torch.zeros(N)
    assert rows_of(state, N) == ["later", "grad2d"]


def test_declared_rows_of_another_number_are_refused_in_words() -> None:
    state = State({"score": torch.zeros(5)}, per_gaussian=("score",))
    with pytest.raises(StrategyError, match=r"'score' has shape \(5,\), but 51 Gaussians"):
        _duplicated(state)


def test_a_plain_dictionary_declares_nothing_and_follows_by_length() -> None:
    assert _duplicated({"a": torch.zeros(N), "b": torch.zeros(7)}) == {"a": (N + 3,), "b": (7,)}


def test_a_restored_state_knows_what_it_knew() -> None:
    state = State({"table": torch.zeros(N), "sum": torch.zeros(60)})
    rows_of(state, 60)
    again = State({"table": torch.zeros(N), "sum": torch.zeros(N)})
    again.restore_rows(state.described())
    assert rows_of(again, N) == ["sum"]
    again.restore_rows(None)
    assert rows_of(again, N) == ["table", "sum"]
