"""Which photos are compared."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gs_densify.reconstruct.pairs import EXHAUSTIVE_UP_TO, matching_for, neighbours


@settings(max_examples=30)
@given(st.integers(0, 40), st.integers(1, 6))
def test_neighbours_are_near_in_order_and_each_once(count: int, overlap: int) -> None:
    names = [f"{i:03}" for i in range(count)]
    pairs = neighbours(names, overlap)
    assert len(set(pairs)) == len(pairs)
    assert {(a, b) for a in names for b in names if 0 < int(b) - int(a) <= overlap} == set(pairs)
    further = {int(b) - int(a) for a, b in neighbours(names, overlap, doubling=True)}
    assert all(step <= overlap or step & (step - 1) == 0 for step in further)
    assert further >= {step for step in (1, 2, 4, 8) if step < count and step <= 2 ** (overlap - 1)}


def test_how_pairs_are_chosen_follows_what_there_is() -> None:
    assert matching_for("auto", 1000, is_video=True) == "sequential"
    assert matching_for("auto", EXHAUSTIVE_UP_TO, is_video=False) == "exhaustive"
    assert matching_for("auto", EXHAUSTIVE_UP_TO + 1, is_video=False) == "retrieval"
    assert matching_for("exhaustive", 1000, is_video=True) == "exhaustive"
