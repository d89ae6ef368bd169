"""Times, slots and time lines: the small parts of a plan and of what is shown."""

from pathlib import Path

import pytest

from gs_densify.bench.plan import spread_over
from gs_densify.bench.progress import Progress, read_progress
from gs_densify.bench.run import last_line
from gs_densify.bench.slots import Gpu, chosen_gpus, cpu_slots, find_gpus, gpu_slots
from gs_densify.errors import ConfigError
from gs_densify.runs.environment import RUNS_AT_A_TIME

GPUS = [Gpu(str(number), "A100", 2**30) for number in range(2)]
SMI = """#!/bin/sh
echo "0, NVIDIA A100, 81920, GPU-aa-1"
echo "1, NVIDIA A100, [N/A], GPU-bb-2"
"""


def test_cells_begin_where_room_is_first() -> None:
    assert spread_over([3, 1, 1, 1], 2) == 3
    assert spread_over([3, 1, 1, 1], 1) == 6
    assert spread_over([3, None], 2) is None
    assert spread_over([], 2) == 0


def test_a_cell_sees_its_gpu_alone() -> None:
    slots = gpu_slots(GPUS, 2)
    assert [one.place for one in slots] == ["GPU 0", "GPU 1", "GPU 0", "GPU 1"]
    assert slots[1].environment == {"CUDA_VISIBLE_DEVICES": "1", RUNS_AT_A_TIME: "2"}
    assert [one.environment[RUNS_AT_A_TIME] for one in cpu_slots(3)] == ["3"] * 3


def test_a_cell_of_several_gpus_has_them_for_itself() -> None:
    (both,) = gpu_slots([*GPUS, Gpu("2", "a card", None)], 1, per_cell=2)
    assert both.place == "GPU 0 and 1"
    assert both.environment == {"CUDA_VISIBLE_DEVICES": "0,1", RUNS_AT_A_TIME: "1"}
    for gpus, per_gpu in ((GPUS, 2), (GPUS[:1], 1)):
        with pytest.raises(ConfigError, match="a cell trains on 2 GPUs"):
            gpu_slots(gpus, per_gpu, per_cell=2)


def test_gpus_are_chosen_among_those_present() -> None:
    assert chosen_gpus(None, GPUS) == chosen_gpus(("all",), GPUS) == GPUS
    assert chosen_gpus(("1",), GPUS) == GPUS[1:]
    for asked, present, said in (
        (("2",), GPUS, "--gpus has 2; GPUs here: 0, 1"),
        (("1", "1"), GPUS, "once each"),
        ((), GPUS, "once each"),
        (("all",), [], "there is no GPU here"),
    ):
        with pytest.raises(ConfigError, match=said):
            chosen_gpus(asked, present)


def test_gpus_are_those_that_this_process_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nvidia-smi").write_text(SMI)
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [(one.number, one.memory) for one in find_gpus()] == [
        *(("0", 80 * 2**30), ("1", None)),
    ]
    for visible, numbers in (("1", ["1"]), ("GPU-bb, MIG-3", ["GPU-bb", "MIG-3"])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert [one.number for one in find_gpus()] == numbers
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert find_gpus() == []


def test_a_time_line_is_read_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert read_progress(path) is None
    row = '{"step": %d, "num_gaussians": 5, "step_milliseconds": 2.5, "psnr": %s}\n'
    path.write_text(row % (10, "20.5") + row % (20, "null") + '{"step": 30, "num_')
    assert read_progress(path) == Progress(20, 5, 2.5, 20.5)
    path.write_text("".join(row % (step, "null") for step in range(1000)))
    assert read_progress(path) == Progress(999, 5, 2.5, None)
    path.write_text('{"step": 1')
    assert read_progress(path) is None


def test_the_last_line_of_a_log_says_what_happened(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_line(log) == ""
    log.write_bytes(b"first\nValueError: \xff bad\n\n  \n")
    assert last_line(log) == "ValueError: � bad"
    log.write_text("x" * 1000)
    assert len(last_line(log)) == 303
