"""What is made ready beside loading: waited for where it is needed, and never in the way."""

import threading
from collections.abc import Iterator

import pytest
import torch

from gs_densify.evaluation import lpips
from gs_densify.rendering.reference.rasterizer import ReferenceRasterizer
from gs_densify.runs.warm_up import warming_up

CUDA = torch.device("cuda")
RASTERIZER = ReferenceRasterizer()


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Backbones of which the kernels were loaded, once all threads of the test are done."""
    names: list[str] = []
    monkeypatch.setattr(lpips, "load_kernels", lambda backbone, device: names.append(backbone))
    yield names
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and "_load_cudnn" in thread.name:
            thread.join(60)


def wait_for(names: list[str], count: int) -> None:
    done = threading.Event()
    for _ in range(6000):
        if len(names) == count or done.wait(0.01):
            return
    raise AssertionError(names)


def test_the_renderer_is_ready_after_the_body_and_starts_beside_it(
    monkeypatch: pytest.MonkeyPatch, loaded: list[str]
) -> None:
    go, ready = threading.Event(), []

    def start(device: torch.device) -> None:
        assert go.wait(60)
        ready.append(device)

    monkeypatch.setattr(RASTERIZER, "start", start)
    with warming_up(CUDA, RASTERIZER, ("lpips_vgg", "lpips_vgg_01", "lpips_alex")):
        assert not ready
        go.set()
    assert ready == [CUDA]
    wait_for(loaded, 2)
    assert sorted(loaded) == ["alexnet", "vgg16"]


def test_cudnn_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    go, done = threading.Event(), []

    def load(backbone: str, device: torch.device) -> None:
        assert go.wait(60)
        done.append(backbone)

    monkeypatch.setattr(RASTERIZER, "start", lambda device: None)
    monkeypatch.setattr(lpips, "load_kernels", load)
    with warming_up(CUDA, RASTERIZER, ("lpips_alex",)):
        pass
    assert not done
    go.set()
    wait_for(done, 1)


def test_what_fails_is_left_to_where_it_is_needed(
    monkeypatch: pytest.MonkeyPatch, loaded: list[str]
) -> None:
    def fail(device: torch.device) -> None:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(RASTERIZER, "start", fail)
    with warming_up(CUDA, RASTERIZER, ("lpips_alex",)):
        pass
    wait_for(loaded, 1)


def test_an_error_does_not_wait_for_the_renderer(monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    monkeypatch.setattr(RASTERIZER, "start", lambda device: go.wait(60))
    with pytest.raises(KeyError), warming_up(CUDA, RASTERIZER, ()):
        raise KeyError
    go.set()


def test_a_cpu_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RASTERIZER, "start", lambda device: pytest.fail("started"))
    with warming_up(torch.device("cpu"), RASTERIZER, ("lpips_alex",)):
        pass
