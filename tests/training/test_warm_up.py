"""What is made ready beside loading: waited for where it is needed, and never in the way."""

import subprocess
import sys
import threading

import pytest
import torch

from gs_densify import kernels
from gs_densify.evaluation import lpips
from gs_densify.rendering.reference.rasterizer import ReferenceRasterizer
from gs_densify.runs.warm_up import warming_up

CUDA = torch.device("cuda")
RASTERIZER = ReferenceRasterizer()


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Backbones of which the kernels were loaded."""
    names: list[str] = []
    monkeypatch.setattr(kernels, "start", lambda: None)
    monkeypatch.setattr(kernels, "HAS_TRITON", True)
    monkeypatch.setattr(lpips, "load_kernels", lambda backbone, device: names.append(backbone))
    return names


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

    def start(*device: torch.device) -> None:
        assert go.wait(60)
        ready.append(device)

    monkeypatch.setattr(RASTERIZER, "start", start)
    monkeypatch.setattr(kernels, "start", start)
    with warming_up(CUDA, RASTERIZER, ("lpips_vgg", "lpips_vgg_01", "lpips_alex")):
        assert not ready
        go.set()
    assert sorted(ready, key=len) == [(), (CUDA,)]
    wait_for(loaded, 2)
    assert sorted(loaded) == ["alexnet", "vgg16"]


def test_cudnn_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, loaded: list[str]) -> None:
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
    def fail(*device: torch.device) -> None:
        raise RuntimeError("no compiler")

    failed: list[object] = []
    monkeypatch.setattr(threading, "excepthook", failed.append)
    monkeypatch.setattr(RASTERIZER, "start", fail)
    monkeypatch.setattr(kernels, "start", fail)
    with warming_up(CUDA, RASTERIZER, ("lpips_alex",)):
        pass
    wait_for(loaded, 1)
    assert not failed


def test_an_error_does_not_wait_for_the_renderer(
    monkeypatch: pytest.MonkeyPatch, loaded: list[str]
) -> None:
    go = threading.Event()
    monkeypatch.setattr(RASTERIZER, "start", lambda device: go.wait(60))
    with pytest.raises(KeyError), warming_up(CUDA, RASTERIZER, ()):
        raise KeyError
    go.set()


def test_a_cpu_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RASTERIZER, "start", lambda device: pytest.fail("started"))
    with warming_up(torch.device("cpu"), RASTERIZER, ("lpips_alex",)):
        pass


FIRST_LAUNCH = """
import triton.runtime.cache as cache
from triton.runtime import driver
from gs_densify import kernels

class Driver:
    def get_current_target(self):
        raise RuntimeError("no GPU")

driver.set_active(Driver())
try:
    kernels.start()
except RuntimeError as error:
    assert str(error) == "no GPU", error
assert cache.triton_key.cache_info().currsize == 1
"""


def test_tritons_key_is_made_before_the_first_launch() -> None:
    """By the function that Triton asks, which keeps what it returns."""
    pytest.importorskip("triton")
    done = subprocess.run([sys.executable, "-c", FIRST_LAUNCH], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.gpu
def test_kernels_start_on_a_gpu() -> None:
    kernels.start()
