"""Where cells run at a time: GPUs, several cells on one, or processes on the CPU."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from gs_densify.errors import ConfigError
from gs_densify.runs.environment import RUNS_AT_A_TIME

_FIELDS = "index,name,memory.total,uuid"
_QUERY = ["nvidia-smi", f"--query-gpu={_FIELDS}", "--format=csv,noheader,nounits"]
_TORCH = (
    "import torch\n"
    "for i in range(torch.cuda.device_count()):\n"
    "    one = torch.cuda.get_device_properties(i)\n"
    "    print(i, one.name, one.total_memory // 2**20, f'GPU-{one.uuid}', sep=', ')"
)


@dataclasses.dataclass(frozen=True)
class Gpu:
    """A GPU of this machine."""

    number: str
    """As CUDA_VISIBLE_DEVICES takes it."""
    name: str
    memory: int | None
    """Bytes; None: not known."""
    uuid: str = ""


@dataclasses.dataclass(frozen=True)
class Slot:
    """Room for one cell."""

    place: str
    """What it shares with others: a GPU, or the CPU."""
    environment: Mapping[str, str]


def find_gpus() -> list[Gpu]:
    """Returns the GPUs that this process may use, without touching them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    try:
        found = _listed(_QUERY)
    except (OSError, subprocess.CalledProcessError):
        if not Path("/dev/nvidiactl").exists():
            return []
        # Of torch in a process of its own, so that this one never holds a context.
        environment = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
        found = _listed([sys.executable, "-c", _TORCH], environment)
    if visible is None:
        return found
    return [_named(one.strip(), found) for one in visible.split(",") if one.strip()]


def _named(name: str, found: list[Gpu]) -> Gpu:
    """Returns the GPU that an entry of CUDA_VISIBLE_DEVICES means: a number, an identifier or the
    beginning of one, or a part of a GPU (MIG), of which only CUDA knows more.
    """
    for gpu in found:
        if name == gpu.number or (name.startswith("GPU-") and gpu.uuid.startswith(name)):
            return dataclasses.replace(gpu, number=name)
    return Gpu(name, "not listed by nvidia-smi", None)


def _listed(command: list[str], environment: Mapping[str, str] | None = None) -> list[Gpu]:
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    rows = [[part.strip() for part in line.split(",")] for line in done.stdout.splitlines()]
    return [_gpu(*row) for row in rows if len(row) == 4]


def _gpu(number: str, name: str, mebibytes: str, uuid: str) -> Gpu:
    memory = int(mebibytes) * 2**20 if mebibytes.isdigit() else None
    return Gpu(number, name, memory, uuid)


def chosen_gpus(asked: tuple[str, ...] | None, present: list[Gpu]) -> list[Gpu]:
    """Returns the GPUs that --gpus names; ConfigError for those that are not there."""
    if asked is None or asked == ("all",):
        if asked is not None and not present:
            raise ConfigError("all: there is no GPU here", action="leave it out", option="gpus")
        return present
    by_number = {gpu.number: gpu for gpu in present}
    for number in asked:
        if number not in by_number:
            known = ", ".join(by_number) or "none"
            raise ConfigError(f"has {number}", expected=f"GPUs here: {known}", option="gpus")
    if len(set(asked)) < len(asked) or not asked:
        raise ConfigError(
            "must name GPUs once each", action="several cells on one: --per-gpu", option="gpus"
        )
    return [by_number[number] for number in asked]


def gpu_slots(gpus: list[Gpu], per_gpu: int, per_cell: int = 1) -> list[Slot]:
    """Returns the slots of GPUs: first one on each, then the second on each, and so on.

    Where `per_cell` of them train together, a slot has so many, and no other cell runs on them.
    """
    if per_cell > 1 and (per_gpu > 1 or len(gpus) < per_cell):
        raise ConfigError(
            f"a cell trains on {per_cell} GPUs, of which there are {len(gpus)} here, for"
            f" {per_gpu} cells at a time on each",
            action="write another `gpus` in the study, or leave --per-gpu out",
        )
    groups = [gpus[i : i + per_cell] for i in range(0, len(gpus) - per_cell + 1, per_cell)]
    numbers = [[gpu.number for gpu in group] for group in groups]
    return [
        Slot(
            f"GPU {' and '.join(group)}",
            {"CUDA_VISIBLE_DEVICES": ",".join(group), RUNS_AT_A_TIME: str(per_gpu)},
        )
        for _ in range(per_gpu)
        for group in numbers
    ]


def cpu_slots(jobs: int) -> list[Slot]:
    """Returns the slots of processes on the CPU, which share its cores."""
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    environment = {RUNS_AT_A_TIME: str(jobs)}
    if jobs > 1 and "OMP_NUM_THREADS" not in os.environ:
        environment["OMP_NUM_THREADS"] = threads
    return [Slot("CPU", environment)] * jobs
