"""A run from its configuration to its result files, in one process or in several."""

import shlex
import signal
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import torch

from gs_densify import messages
from gs_densify.config.file import save_config, to_mapping
from gs_densify.config.options import TrainConfig
from gs_densify.config.strategy import remark_on_layers
from gs_densify.distributed.group import ALONE, Group
from gs_densify.errors import ResultError
from gs_densify.memory.gpu import limited_to
from gs_densify.results import Results, load_results
from gs_densify.results.files import remove_unfinished
from gs_densify.runs import layout as run_folder
from gs_densify.runs.checkpoint_files import checkpoints
from gs_densify.runs.claim import claimed
from gs_densify.runs.held_folder import locked
from gs_densify.runs.made_trainer import made_trainer
from gs_densify.runs.memory_limit import offload_remark
from gs_densify.runs.outputs.all import check_outputs
from gs_densify.runs.paths import check_scene_is_there, with_absolute_paths
from gs_densify.runs.pause import BY_OTHERS, PauseWish
from gs_densify.runs.prepare import Prepared, checked, prepared
from gs_densify.runs.resumed import go_on, newest, note_code, note_rasterizer, note_threads
from gs_densify.runs.run_state import RunState, digest, require_same, require_same_scene
from gs_densify.runs.session import RunProcess
from gs_densify.runs.shortage import saying_shortage
from gs_densify.runs.start import check_start
from gs_densify.runs.stopwatch import Stopwatch


def train(
    config: TrainConfig,
    command: Sequence[str],
    started: float | None = None,
    group: Group = ALONE,
) -> tuple[Results, Path]:
    """Trains, evaluates, and writes every file of the run; returns the results and the folder.

    It trains what `config` says: a recipe and a scene's settings are in it, or do not count, which
    is said. `gs_densify.train` makes it of options, as gs-train does.
    A run that is refused before its first step leaves no folder behind.

    `started` is when the command began, of `time.perf_counter`; None: now. Of several processes in
    `group` this is the first; the others `follow`.
    """
    clock = Stopwatch(started)
    clock.lap("start")
    with ExitStack() as stack:
        with group.in_one_voice():
            check_start(config)
            config = with_absolute_paths(config)
            device = checked(config, group)
            run_folder.check_free(config.out)  # now, not after loading
            check_outputs(config)
            ready = prepared(config, device, clock, group)
            stack.enter_context(limited_to(config.memory_bytes, device))
            claim = stack.enter_context(claimed(config.out, run_folder.default_folder(config)))
        state = RunState(
            command=list(command),
            config=to_mapping(config),
            device=device.type,
            scene=digest(ready.loaded.scene),
            num_initial=0,
            found=ready.found,
            code=ready.code,
            data=ready.loaded.data,
            cpu_threads=torch.get_num_threads(),
            memory_plan=ready.settled.plan,
        )
        folder = claim.held.path
        # Before a hook is called, which may leave the working folder that paths are relative to.
        save_config(run_folder.with_kept_strategy_file(config, folder), folder / run_folder.CONFIG)
        remarks = _remarks(ready)
        run = RunProcess(ready, claim.held, state, clock, group)
        trainer = run.make_trainer()
        claim.is_worth_keeping = lambda: trainer.progress.step > 0 or bool(checkpoints(folder))
        state.num_initial = trainer.num_gaussians
        state.rasterizer = trainer.renderer.rasterizer.name
        for remark in remarks:
            messages.remark(remark)
        return run.finish(trainer), claim.held.named


def resume(
    config: TrainConfig, started: float | None = None, group: Group = ALONE
) -> tuple[Results, Path]:
    """Goes on with the run in the folder `config.out` from its last checkpoint, and finishes it.

    On a CPU its results are those of a run that was never interrupted, where one process trains.

    Where it is complete, that is said, and its results are returned. `group` is as for `train`, and
    may be of another size than before.

    Raises:
        ConfigError: the run is in use, or options, device or scene are not its own.
        ResultError: there is no checkpoint from which it can go on.
    """
    clock = Stopwatch(started)
    clock.lap("start")
    folder = config.out
    assert folder is not None
    with ExitStack() as stack:
        with group.in_one_voice():
            held = stack.enter_context(locked(folder))
            remove_unfinished(run_folder.written_folders(folder))
            if (folder / run_folder.RESULTS).exists():
                messages.remark(
                    f"{folder}: this run is complete; gs-eval scores it again, and gs-train --init"
                    " trains on from it"
                )
                return load_results(folder / run_folder.RESULTS), folder
            check_scene_is_there(folder, config)
            if not checkpoints(folder):
                raise ResultError(
                    f"{folder}: was cut off before its first checkpoint",
                    action=f"begin anew: gs-train --config {shlex.quote(str(folder))}/config.yml",
                )
            device = checked(config, group)
            kept = newest(folder, config, group)
            state = kept.state
            require_same(state, folder, config=to_mapping(config), device=device.type)
            check_outputs(config)
            ready = prepared(config, device, clock, group, state)
            require_same_scene(state, folder, ready.loaded)
            stack.enter_context(limited_to(config.memory_bytes, device))
        note_code(state, folder, ready.code)
        note_threads(state, folder)
        state.found = ready.found  # checkpoints of earlier versions do not have it
        state.resumed_at.append(kept.contents["step"])
        run = RunProcess(ready, held, state, clock, group)
        trainer = run.make_trainer()
        note_rasterizer(state, folder, trainer.renderer.rasterizer.name)
        go_on(trainer, kept)
        messages.remark(
            f"{folder}: goes on after step {trainer.progress.step}, with the scene in"
            f" {ready.loaded.scene.root}"
        )
        return run.finish(trainer), folder


def follow(config: TrainConfig, group: Group, *, is_begun: bool) -> None:
    """Trains with the first process of `group` on another one, until that has ended.

    Args:
        config: that of the first process, too.
        group: the processes.
        is_begun: whether the first one resumes the run in the folder `config.out`.
    """
    with group.in_one_voice():
        folder = config.out if is_begun else None
        if folder is not None and (folder / run_folder.RESULTS).exists():
            return
        if folder is None:
            check_start(config)
            config = with_absolute_paths(config)
        device = checked(config, group)
        kept = None if folder is None else newest(folder, config, group)
        state = None if kept is None else kept.state
        ready = prepared(config, device, Stopwatch(), group, state)
    with saying_shortage(device):
        trainer = made_trainer(ready, group)
    if kept is not None:
        go_on(trainer, kept)
    trainer.is_to_pause = wish = PauseWish()
    with wish.listening(*BY_OTHERS, signal.SIGINT), saying_shortage(device, trainer):
        trainer.follow()


def _remarks(ready: Prepared) -> list[str]:
    """Returns what a new run says of what became of its options."""
    remarks = [
        remark_on_layers(ready.settled.asked),
        *ready.settled.remarks(len(ready.loaded.scene.train_views)),
        offload_remark(ready.config, ready.device),
    ]
    return [one for one in remarks if one is not None]
