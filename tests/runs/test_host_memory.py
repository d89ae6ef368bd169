"""Host memory that runs out: an allocation fails in words, before the system ends the process."""

import resource
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torch

from gs_densify.cli.strategies import command as strategies
from gs_densify.cli.train import command as train
from gs_densify.distributed.group import _reaching_others
from gs_densify.errors import BackendError
from gs_densify.memory import host
from gs_densify.memory.shortage import is_shortage, shortage_in_words
from gs_densify.runs.checkpoint_form import refusing_unfit
from gs_densify.training.trainer import Trainer

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
    monkeypatch.setattr(host, "free_memory", lambda: 100 * 2**20)


def in_words() -> AbstractContextManager[None]:
    return shortage_in_words(lambda: "at noon", {"cpu": "wait"})


@pytest.mark.parametrize(
    ("allocate", "said"),
    [
        (
            lambda: torch.zeros(2**30),
            r"^memory ran out, where 4\.29 GB more were wanted, at noon; w",
        ),
        (lambda: np.zeros(2**30, np.uint8).sum(), r"^memory ran out, where 1\.07 GB more were wan"),
        (lambda: bytearray(2**30), r"^memory ran out, at noon; wait$"),
    ],
)
def test_an_allocation_beyond_what_is_free_is_refused_and_the_limit_goes(
    allocate, said, little
) -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(BackendError, match=said):
        with in_words(), host.limited_to_free():
            allocate()
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_what_was_freed_among_blocks_in_use_goes_back_to_the_system() -> None:
    size = 100_000  # below which glibc never asks the system for a block of its own
    blocks = [np.ones(size, np.uint8) for _ in range(1000)]
    held = blocks[9::10]
    del blocks
    before = _resident()
    host.release_freed()
    assert before - _resident() > 0.7 * 1000 * size
    assert all(block.all() for block in held)


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def test_other_errors_stay_and_what_fits_is_there(little) -> None:
    with in_words(), host.limited_to_free():
        bytearray(2**20)
    with pytest.raises(RuntimeError, match="another"), in_words():
        raise RuntimeError("another")
    with pytest.raises(torch.cuda.OutOfMemoryError), in_words():  # of which nothing is said
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("through", [_reaching_others, lambda: refusing_unfit(Path("a.pt"))])
def test_memory_that_runs_out_is_not_taken_for_something_else(through) -> None:
    for error in (
        torch.cuda.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("alloc_cpu.cpp DefaultCPUAllocator: you tried to allocate 4 bytes"),
    ):
        with pytest.raises(type(error)) as caught, through():
            raise error
        assert caught.value is error and is_shortage(error)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            torch.cuda.OutOfMemoryError("Tried to allocate 2.00 GiB. GPU"),
            "GPU memory.* free the GPU",
        ),
        (RuntimeError("DefaultCPUAllocator: tried to allocate 4 bytes"), "memory.* free memory of"),
    ],
)
def test_a_checkpoint_that_does_not_fit_any_more_is_said(
    error: Exception, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    train([*OPTIONS, "--steps", "2", "--out", "run"])
    Path("run/results.json").unlink()

    def run_out(self: Trainer, state: object) -> None:
        raise error

    monkeypatch.setattr(Trainer, "load_state_dict", run_out)
    with pytest.raises(BackendError, match=f"^{said}.*, and resume again$"):
        train(["--resume", "run"])


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
