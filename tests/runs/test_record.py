"""What a run writes down about itself."""

import pytest
import torch

from gs_densify.runs.environment import (
    RUNS_AT_A_TIME,
    forget_peak_memory,
    hardware,
    peak_memory,
)


@pytest.mark.gpu
def test_each_run_of_a_process_has_its_own_peak() -> None:
    device = torch.device("cuda", torch.cuda.current_device())
    large = torch.zeros(2**28, dtype=torch.uint8, device=device)
    del large
    before = peak_memory(device).device
    forget_peak_memory(device)
    after = peak_memory(device).device
    assert before is not None and after is not None
    assert after <= before - 2**27


def test_on_a_cpu_there_is_no_peak_of_a_device() -> None:
    forget_peak_memory(torch.device("cpu"))
    found = peak_memory(torch.device("cpu"))
    assert found.device is None and found.host > 2**20


@pytest.mark.parametrize(("said", "number"), [(None, 1), ("3", 3), ("", 1), ("many", 1)])
def test_a_study_says_how_many_runs_share_a_device(
    said: str | None, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(RUNS_AT_A_TIME, raising=False)
    if said is not None:
        monkeypatch.setenv(RUNS_AT_A_TIME, said)
    assert hardware(torch.device("cpu")).runs_at_a_time == number
