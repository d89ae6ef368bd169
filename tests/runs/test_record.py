"""What a run writes down about itself."""

import pytest
import torch

from gs_densify.runs.environment import forget_peak_memory, peak_memory


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
