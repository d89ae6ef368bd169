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


def test_other_errors_stay_and_what_fits_is_there(little) -> None:
    with memory.host_shortage(lambda: "x"):
        bytearray(2**20)
    with pytest.raises(RuntimeError, match="another"), memory.host_shortage(lambda: "x"):
        raise RuntimeError("another")


def test_what_is_free_is_known_and_less_where_a_container_has_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 2**20 < memory.free_memory() < 2**50
    (tmp_path / "max").write_text(f"{2**21}\n")
    (tmp_path / "current").write_text(f"{2**20}\n")
    monkeypatch.setattr(memory, "_CGROUPS", ((tmp_path / "max", tmp_path / "current"),))
    assert memory.free_memory() == 2**20
    (tmp_path / "max").write_text("max\n")
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
