"""Shared set-up: GPU tests skip without one, and each test starts from the same random state."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

# Parallel test processes with several OpenMP threads each wait for one another for minutes. Set
# before torch is imported, and inherited by the commands that tests run.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
# Compiling the package takes a quarter of the start of each command that tests run.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

import pytest
import torch
from forks import Forked
from hypothesis import HealthCheck, settings

from gs_densify.scene.cache import default_cache
from gs_densify.scene.formats.tiny.make import ensure_tiny

# Hypothesis draws the same examples in every run, and no machine is too slow for them; others with
# `--hypothesis-profile other --hypothesis-seed N`.
settings.register_profile(
    "other", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("same", settings.get_profile("other"), derandomize=True)
settings.load_profile("same")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="no CUDA GPU on this machine")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file's tests run in one process, so that what they share is made once.

    Files go by their names: those of few tests are the longest, and none of them may come last.
    """
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log) if config.getoption("dist") == "load" else None


@pytest.fixture(scope="session")
def cached_tiny() -> Path:
    """The tiny scene as `--scene tiny` finds it; it takes seconds to make. Copy it to change it."""
    return ensure_tiny(default_cache())


@pytest.fixture
def interpret() -> Callable[..., None]:
    """Runs code in a process of its own, with Triton's kernels interpreted; it must succeed."""
    pytest.importorskip("triton", reason="triton is not installed (it comes with torch for CUDA)")

    def run(code: str) -> None:
        # Triton reads the variable where it is imported, which the server of forks does not do.
        call = partial(exec, code, {"__name__": "__main__"})
        ended = Forked(call, Path.cwd(), {**os.environ, "TRITON_INTERPRET": "1"}).wait()
        assert ended.code == 0, ended.said

    return run


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
