"""Where a scene's files lie is no part of which data a run saw."""

from gs_densify.results import DataRecord


def test_runs_in_two_worlds_saw_the_same_data() -> None:
    one = DataRecord(model="m", photos="p", offset=[5e5, 4.5e6, 0.0])
    assert one == DataRecord(model="m", photos="p", offset=[5e5, 4.5e6, 1.0])
    assert one != DataRecord(model="m", photos="q", offset=[5e5, 4.5e6, 0.0])
