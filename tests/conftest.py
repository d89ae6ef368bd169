"""Shared set-up: GPU tests skip without one, and each test starts from the same random state."""

import os
import subprocess
import sys
from collections.abc import Callable

# Parallel test processes with several OpenMP threads each wait for one another for minutes. Set
# before torch is imported, and inherited by the commands that tests run.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="no CUDA GPU on this machine")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)


@pytest.fixture
def interpret() -> Callable[..., None]:
    """Runs Python with the given arguments and Triton's kernels interpreted; it must succeed."""
    pytest.importorskip("triton", reason="triton is not installed (it comes with torch for CUDA)")

    def run(*arguments: object) -> None:
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            env={**os.environ, "TRITON_INTERPRET": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    return run


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
