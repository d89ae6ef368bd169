"""Checkpoints: whole or not at all, and never read where they are damaged."""

from pathlib import Path
from typing import NoReturn

import pytest
import torch

from gs_densify.errors import ResultError
from gs_densify.model.checks import SHAPES
from gs_densify.runs.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from gs_densify.runs.checkpoint_files import checkpoint_path

ROWS = {name: [3 if size is None else size for size in shape] for name, shape in SHAPES.items()}
SPLATS = {
    name: torch.arange(900.0).view(900, *[1] * len(row)).expand(900, *row).clone()
    for name, row in ROWS.items()
}
CONTENTS = {"splats": SPLATS, "step": 7}


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


def edited(name: str, value: object) -> dict[str, object]:
    return {**CONTENTS, "splats": {**SPLATS, name: value}}


def with_nan(name: str) -> torch.Tensor:
    value = SPLATS[name].clone()
    value[7:10] = float("nan")
    return value


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        *((edited(name, with_nan(name)), f"'{name}' is not finite in 3 of 900") for name in SHAPES),
        (
            edited("means", torch.full((900, 3), float("inf"))),
            "'means' is not finite in 900 of 900",
        ),
        (edited("means", torch.zeros(900, 4)), r"'means' has the shape \[900, 4\]"),
        (edited("means", torch.tensor(1.0)), r"'means' has the shape \[\]"),
        (edited("quats", torch.zeros(900, 4).double()), "'quats' is no float32 tensor"),
        (edited("quats", [1.0]), "'quats' is no float32 tensor"),
        (edited("shN", torch.zeros(899, 15, 3)), "not of equally many Gaussians"),
        (edited("means", torch.zeros(1).expand(10**11, 3)), "claims more values than the file"),
        ({**CONTENTS, "splats": 3}, "no parameters of Gaussians"),
        ({**CONTENTS, "step": "7"}, "of which step"),
        ({"step": 7}, "no parameters of Gaussians"),
    ],
)
def test_what_is_no_gaussians_is_refused(contents: dict, said: str, tmp_path: Path) -> None:
    path = tmp_path / "step_000007.pt"
    save_checkpoint(path, contents)
    with pytest.raises(ResultError, match=said) as caught:
        load_checkpoint(path, "cpu")
    assert "\n" not in str(caught.value)
