"""Checkpoints: whole or not at all, and never read where they are damaged."""

from pathlib import Path
from typing import NoReturn

import pytest
import torch

from gs_densify.errors import ResultError
from gs_densify.model.init import NAMES
from gs_densify.runs.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from gs_densify.runs.checkpoint_files import checkpoint_path

CONTENTS = {"splats": {name: torch.arange(3000.0) for name in NAMES}, "step": 7}


def test_the_latest_is_the_one_of_the_most_steps(tmp_path: Path) -> None:
    for step in (7, 999_999, 1_000_000):
        save_checkpoint(checkpoint_path(tmp_path, step), CONTENTS)
    assert latest_checkpoint(tmp_path) == checkpoint_path(tmp_path, 1_000_000)


@pytest.mark.parametrize("place", [0.2, 0.5, 0.8])
def test_changed_bytes_are_noticed(place: float, tmp_path: Path) -> None:
    path = tmp_path / "step_000007.pt"
    save_checkpoint(path, CONTENTS)
    torch.testing.assert_close(load_checkpoint(path, "cpu")["splats"], CONTENTS["splats"])
    data = bytearray(path.read_bytes())
    start = int(place * len(data))
    data[start : start + 100] = bytes(100)  # more than there is between two tensors
    path.write_bytes(data)
    with pytest.raises(ResultError, match=r"step_000007\.pt: damaged"):
        load_checkpoint(path, "cpu")


def test_a_full_disk_is_said_in_one_line_and_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "step_000007.pt"
    save_checkpoint(path, CONTENTS)
    before = path.read_bytes()

    def fail(*arguments: object) -> NoReturn:
        raise RuntimeError("[enforce fail at inline_container.cc:672] . \nframe #0: c10::Throw")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(ResultError, match="cannot be written") as caught:
        save_checkpoint(path, CONTENTS)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
