"""What a run asks of the machine."""

import os
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gs_densify.errors import BackendError
from gs_densify.memory.gpu import limited_to
from gs_densify.rendering.device import pick_device, suit_threads


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


def test_a_process_among_others_takes_its_gpu_once_the_allocator_is_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """torch reads the allocator's settings when CUDA starts, as it does to take a GPU."""
    taken = []

    def take(index: int) -> None:
        taken.append((index, os.environ.get("PYTORCH_CUDA_ALLOC_CONF")))

    for name in ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", take)
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "1")
    for name, value in {"WORLD_SIZE": "2", "MASTER_ADDR": "", "MASTER_PORT": ""}.items():
        monkeypatch.setenv(name, value)
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto") == torch.device("cuda", 1)
    assert taken == [(1, "expandable_segments:True")]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(BackendError, match="There are 1 GPUs, and more processes"):
        pick_device("auto")


@pytest.mark.parametrize(("name", "index"), [("cuda", 1), ("cuda:0", 0)])
def test_a_limit_is_that_of_the_gpu_at_hand(
    monkeypatch: pytest.MonkeyPatch, name: str, index: int
) -> None:
    given = []
    monkeypatch.setattr(torch.cuda.memory, "_lazy_init", lambda: None)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    properties = SimpleNamespace(total_memory=1000)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    monkeypatch.setattr(
        torch._C, "_cuda_setMemoryFraction", lambda *one: given.append(one), raising=False
    )
    with limited_to(250, torch.device(name)):
        assert given == [(0.25, index)]
    assert given[1:] == [(1.0, index)]
