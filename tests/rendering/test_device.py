"""What a run asks of the machine."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gs_densify.rendering.device import suit_threads


@pytest.mark.parametrize(
    ("device", "size", "variable", "expected"),
    [
        ("cpu", (96, 64), None, 1),
        ("cpu", (800, 533), None, 5),
        ("cpu", (96, 64), "5", 5),
        ("cuda", (96, 64), None, 5),
    ],
)
def test_small_pictures_on_a_cpu_take_one_thread(
    device: str,
    size: tuple[int, int],
    variable: str | None,
    expected: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(5)
        views: Any = [SimpleNamespace(width=w, height=h) for w, h in ((32, 20), size)]
        suit_threads(torch.device(device), views)
        assert torch.get_num_threads() == expected
        suit_threads(torch.device(device), views, before=3)  # what a run began with
        is_free = device == "cpu" and variable is None
        assert torch.get_num_threads() == (3 if is_free else expected)
    finally:
        torch.set_num_threads(before)
