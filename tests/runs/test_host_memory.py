"""Host memory that runs out: an allocation fails in words, before the system ends the process."""

import resource
from pathlib import Path

import numpy as np
import pytest
import torch

from gs_densify import memory
from gs_densify.cli.strategies import command as strategies
from gs_densify.cli.train import command as train
from gs_densify.errors import BackendError

DOUBLING = """
from dataclasses import dataclass
import torch
from gs_densify.strategies import ops
from gs_densify.strategies.base import Strategy

@dataclass
class CustomStrategy(Strategy):
    def step_post_backward(self, params, optimizers, state, step, info):
        everyone = torch.ones(len(params["means"]), dtype=torch.bool)
        ops.duplicate(params, optimizers, state, everyone)
"""
OPTIONS = "--scene tiny --downscale 4 --steps 100 --device cpu --evaluation.lpips --out run".split()


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: 100 * 2**20)


@pytest.mark.parametrize(
    "allocate",
    [
        lambda: torch.zeros(2**30),
        lambda: np.zeros(2**30, np.uint8).sum(),
        lambda: bytearray(2**30),
    ],
)
def test_an_allocation_beyond_what_is_free_is_refused_and_the_limit_goes(allocate, little) -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(BackendError, match=r"memory ran out.*, at noon"):
        with memory.host_shortage(lambda: "at noon"):
            allocate()
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_what_was_freed_among_blocks_in_use_goes_back_to_the_system() -> None:
    size = 100_000  # below which glibc never asks the system for a block of its own
    blocks = [np.ones(size, np.uint8) for _ in range(1000)]
    held = blocks[-1]
    del blocks
    before = _resident()
    memory.release_freed()
    assert before - _resident() > 0.7 * 1000 * size
    assert held.all()


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def test_other_errors_stay_and_what_fits_is_there(little) -> None:
    with memory.host_shortage(lambda: "x"):
        bytearray(2**20)
    with pytest.raises(RuntimeError, match="another"), memory.host_shortage(lambda: "x"):
        raise RuntimeError("another")


@pytest.mark.parametrize("version", [0, 1])
def test_a_container_has_what_is_left_to_its_limit_with_the_files_that_make_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    assert 2**20 < memory.free_memory() < 2**50
    cache = memory._CONTAINERS[version].cache
    limit, used, parts = (tmp_path / name for name in ("limit", "used", "stat"))
    container = memory._Container(limit, used, parts, cache)
    monkeypatch.setattr(memory, "_CONTAINERS", (container,))
    limit.write_text(f"{2**21}\n")
    used.write_text(f"{2**20}\n")
    assert memory.free_memory() == 2**20
    used.write_text(f"{2**21 - 4096}\n")
    parts.write_text(f"anon 5\nworkingset_{cache} 7\nactive_file 9\n{cache} {2**19}\nslab 1\n")
    assert memory.free_memory() == 2**19 + 4096
    used.write_text(f"{2**22}\n")
    assert memory.free_memory() == 0
    limit.write_text("max\n")
    assert memory.free_memory() > 2**20


def test_a_strategy_that_doubles_the_model_ends_in_words(
    little, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("doubling.py").write_text(DOUBLING)
    with pytest.raises(BackendError) as caught:
        train(["--strategy", "doubling.py", *OPTIONS])
    said = str(caught.value)
    assert said.startswith("memory ran out, where ") and "Gaussians; use --max-gaussians" in said
    train(
        [
            "--strategy",
            "doubling.py",
            *OPTIONS,
            "--max-gaussians",
            "900",
            "--steps",
            "3",
            "--out",
            "b",
        ]
    )
    assert strategies(["check", "doubling.py"]) == 1
    assert "stay in step: memory ran out" in capsys.readouterr().out
