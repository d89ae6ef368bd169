"""A run that goes on: its newest checkpoint, a trainer that goes on from it, and what is said of
what is not as it was when the run began.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gs_densify import messages
from gs_densify.config.options import TrainConfig
from gs_densify.config.parallel import sharers
from gs_densify.distributed.group import Group
from gs_densify.results import CodeRecord
from gs_densify.runs import layout as run_folder
from gs_densify.runs.checkpoint import load_newest, random_state, restore_random_state
from gs_densify.runs.checkpoint_form import check_training, refusing_unfit
from gs_densify.runs.run_state import RunState, differences, state_in
from gs_densify.runs.shortage import saying_taken_memory
from gs_densify.training.seed import seed_everything, seed_of
from gs_densify.training.trainer import Trainer


@dataclass(frozen=True)
class Kept:
    """A checkpoint of a run, and the state of the run in it."""

    path: Path
    contents: dict[str, Any]
    state: RunState


def newest(folder: Path, config: TrainConfig, group: Group) -> Kept:
    """Returns the newest checkpoint; from the file where not all of it is to be on this GPU.

    Raises:
        ResultError: there is none from which the run can go on.
    """
    is_on_gpu = not config.render.offload and config.memory_limit is None
    is_whole = group.size == 1 and is_on_gpu
    with saying_taken_memory():
        place = None if is_whole else "cpu"
        path, contents = load_newest(folder, place, messages.remark, is_mapped=not is_whole)
    return Kept(path, contents, state_in(contents, path))


def go_on(trainer: Trainer, kept: Kept) -> None:
    """Has a trainer at step 0 go on where a checkpoint was taken, which is let go of.

    Raises:
        BackendError: it does not fit into memory any more, the GPU's or the host's.
        ResultError: it is not of such a trainer.
    """
    contents, device = kept.contents, trainer.splats["means"].device
    with trainer.group.in_one_voice(), saying_taken_memory():
        check_training(
            contents,
            {**trainer.own_state(), "random": random_state(device)},
            kept.path,
            num_views=len(trainer.views),
            steps=trainer.config.length,
        )
    owners = sharers(trainer.config, trainer.group)
    with saying_taken_memory(), refusing_unfit(kept.path):
        trainer.load_state_dict(contents)
        if owners.is_first:
            restore_random_state(contents["random"], device)
        else:
            seed_everything(seed_of(trainer.config.seed, owners.rank, trainer.progress.step))
    contents.clear()


def note_code(state: RunState, folder: Path, code: CodeRecord) -> None:
    """Keeps and says which code a run goes on with, where it began with other code."""
    changed = differences(state.code, code)
    if changed:
        state.resumed_with.append(code)
        messages.remark(
            f"{folder}: goes on with other code of {' and of '.join(changed)} than it began with;"
            f" 'resumed_with' of its {run_folder.RESULTS} says which"
        )


def note_threads(state: RunState, folder: Path) -> None:
    """Says where a run goes on with another number of threads, which counts on a CPU."""
    threads = torch.get_num_threads()
    if state.device == "cpu" and state.cpu_threads not in (None, threads):
        messages.remark(
            f"{folder}: goes on with {threads} CPU threads, as OMP_NUM_THREADS says, and began with"
            f" {state.cpu_threads}: its numbers differ in the last bits from those of a run that"
            " was not interrupted"
        )


def note_rasterizer(state: RunState, folder: Path, name: str) -> None:
    """Says where a run goes on with another rasteriser; `auto` takes what a machine has."""
    if state.rasterizer not in (None, name):
        messages.remark(
            f"{folder}: goes on with rasteriser '{name}', which --render.rasterizer auto takes"
            f" here, and began with '{state.rasterizer}': its numbers and times are not those of"
            f" one alone; to have '{state.rasterizer}' to the end, resume it on a machine that has"
            " it"
        )
