"""A run from its configuration to its result files, in one process or in several."""

import dataclasses
import shlex
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from gs_densify import messages
from gs_densify.config.file import save_config, to_mapping
from gs_densify.config.length import check_length, length_remark, with_length
from gs_densify.config.options import TrainConfig
from gs_densify.config.parallel import sharers
from gs_densify.config.renderer import rasterizer_of
from gs_densify.config.strategy import (
    remark_on_layers,
    schedule_remark,
    strategy_for,
    with_fitted_schedule,
)
from gs_densify.distributed.group import ALONE, Group
from gs_densify.errors import ResultError
from gs_densify.memory.gpu import limited_to
from gs_densify.rendering.device import suit_threads
from gs_densify.results import CodeRecord, MemoryPlan, Results, load_results
from gs_densify.results.files import remove_unfinished
from gs_densify.runs import environment as record
from gs_densify.runs import layout as run_folder
from gs_densify.runs.checkpoint import (
    load_newest,
    random_state,
    restore_random_state,
)
from gs_densify.runs.checkpoint_files import checkpoints
from gs_densify.runs.checkpoint_form import check_training, refusing_unfit
from gs_densify.runs.claim import claimed
from gs_densify.runs.device import device_for
from gs_densify.runs.held_folder import locked
from gs_densify.runs.loaded_scene import NOTHING_FOUND, Found, LoadedScene, load
from gs_densify.runs.made_trainer import made_trainer
from gs_densify.runs.memory_limit import (
    check_memory_limit,
    offload_remark,
    plan_of,
    plan_remark,
    within,
)
from gs_densify.runs.outputs.all import check_outputs
from gs_densify.runs.paths import check_scene_is_there, with_absolute_paths
from gs_densify.runs.pause import BY_OTHERS, PauseWish
from gs_densify.runs.run_state import (
    RunState,
    differences,
    digest,
    require_same,
    require_same_scene,
    state_in,
)
from gs_densify.runs.score import check_lpips
from gs_densify.runs.session import RunProcess
from gs_densify.runs.shortage import saying_shortage, saying_taken_gpu
from gs_densify.runs.start import Start, check_start, start_of
from gs_densify.runs.stopwatch import Stopwatch
from gs_densify.runs.warm_up import warming_up
from gs_densify.training.resolution import possible_reductions
from gs_densify.training.seed import seed_everything, seed_of


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
            device, strategy = _checked(config, group)
            run_folder.check_free(config.out)  # now, not after loading
            check_outputs(config)
            loaded, code, start = _load(config, device, clock, group=group)
            asked, (config, strategy) = config, _of_length(config, strategy, loaded)
            plan = _plan(config, strategy, loaded, start)
            limit_remark, config = plan_remark(config, plan), within(config, plan)
            strategy = strategy if plan is None else strategy_for(config)
            stack.enter_context(limited_to(config.memory_bytes, device))
            claim = stack.enter_context(claimed(config.out, run_folder.default_folder(config)))
        state = RunState(
            command=list(command),
            config=to_mapping(asked),
            device=device.type,
            scene=digest(loaded.scene),
            num_initial=0,
            found=_found(loaded, asked, config),
            code=code,
            data=loaded.data,
            cpu_threads=torch.get_num_threads(),
            memory_plan=plan,
        )
        folder = claim.held.path
        # Before a hook is called, which may leave the working folder that paths are relative to.
        save_config(run_folder.with_kept_strategy_file(asked, folder), folder / run_folder.CONFIG)
        of_length = length_remark(asked, config, len(loaded.scene.train_views))
        remarks = [remark_on_layers(asked), of_length, schedule_remark(config), limit_remark]
        remarks.append(offload_remark(config, device))
        fitted = with_fitted_schedule(config)
        run = RunProcess(fitted, claim.held, loaded, device, state, clock, group)
        trainer = run.make_trainer(strategy, start)
        claim.is_worth_keeping = lambda: trainer.progress.step > 0 or bool(checkpoints(folder))
        state.num_initial = trainer.num_gaussians
        state.rasterizer = trainer.renderer.rasterizer.name
        for remark in filter(None, remarks):
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
            device, strategy = _checked(config, group)
            path, contents = _newest(folder, config, group)
            state = state_in(contents, path)
            require_same(state, folder, config=to_mapping(config), device=device.type)
            check_outputs(config)
            loaded, code, start = _load(
                config, device, clock, state.found, state.cpu_threads, group
            )
            require_same_scene(state, folder, loaded)
            asked, (config, strategy) = config, _of_length(config, strategy, loaded, state.found)
            if state.memory_plan is not None:
                config = within(config, state.memory_plan)
                strategy = strategy_for(config)
            stack.enter_context(limited_to(config.memory_bytes, device))
        _note_code(state, folder, code)
        _note_threads(state, folder)
        # Checkpoints of earlier versions do not have it.
        state.found = _found(loaded, asked, config)
        state.resumed_at.append(contents["step"])
        config = with_fitted_schedule(config)
        # What is written names the strategy as the command did; its file may be gone.
        config = dataclasses.replace(config, strategy=state.config["strategy"]["name"])
        run = RunProcess(config, held, loaded, device, state, clock, group)
        trainer = run.make_trainer(strategy, start)
        _note_rasterizer(state, folder, trainer.renderer.rasterizer.name)
        check_training(
            contents,
            {**trainer.own_state(), "random": random_state(device)},
            path,
            num_views=len(trainer.views),
            steps=config.length,
        )
        with saying_taken_gpu(), refusing_unfit(path):
            trainer.load_state_dict(contents)
            restore_random_state(contents["random"], device)
        contents.clear()
        messages.remark(
            f"{folder}: goes on after step {trainer.progress.step}, with the scene in"
            f" {loaded.scene.root}"
        )
        return run.finish(trainer), folder


def follow(config: TrainConfig, group: Group, *, is_begun: bool) -> None:
    """Trains with the first process of `group` on another one, until that has ended.

    Args:
        config: that of the first process, too.
        group: the processes.
        is_begun: whether the first one resumes the run in the folder `config.out`.
    """
    clock, contents = Stopwatch(), None
    with group.in_one_voice():
        folder = config.out
        if is_begun and folder is not None and (folder / run_folder.RESULTS).exists():
            return
        if not is_begun:
            check_start(config)
            config = with_absolute_paths(config)
        device, strategy = _checked(config, group)
        found, threads = NOTHING_FOUND, None
        if is_begun and folder is not None:
            path, contents = _newest(folder, config, group)
            state = state_in(contents, path)
            found, threads = state.found, state.cpu_threads
        loaded, _, start = _load(config, device, clock, found, threads, group)
        config, strategy = _of_length(config, strategy, loaded, found)
    config = with_fitted_schedule(config)
    with saying_shortage(device):
        trainer = made_trainer(config, strategy, loaded, start, device, group)
    if contents is not None:
        with saying_taken_gpu():
            trainer.load_state_dict(contents)
        if sharers(config, group).size > 1:
            seed_everything(seed_of(config.seed, group.rank, trainer.progress.step))
        else:
            restore_random_state(contents["random"], device)
        contents.clear()
    trainer.is_to_pause = wish = PauseWish()
    with wish.listening(*BY_OTHERS, signal.SIGINT), saying_shortage(device, trainer):
        trainer.follow()


def _checked(config: TrainConfig, group: Group) -> tuple[torch.device, Any]:
    """Returns the device and the strategy, once it is known that they are there and fit."""
    device = device_for(config, sharers(config, group))
    record.forget_peak_memory(device)
    check_memory_limit(config, device)
    check_length(config)
    strategy = strategy_for(config)
    return device, strategy


def _of_length(
    config: TrainConfig, strategy: Any, loaded: LoadedScene, found: Found = NOTHING_FOUND
) -> tuple[TrainConfig, Any]:
    """Returns the configuration with its steps as a number, and the strategy on their schedule."""
    if config.steps != "auto":
        return config, strategy
    config = with_length(config, len(loaded.scene.train_views), found.steps)
    return config, strategy_for(config)


def _plan(
    config: TrainConfig, strategy: Any, loaded: LoadedScene, start: Start
) -> MemoryPlan | None:
    """Returns how the run keeps to its --memory-limit."""
    has_masks = any(mask is not None for mask in loaded.train_masks)
    return plan_of(config, strategy, loaded.scene, start, has_masks=has_masks)


def _found(loaded: LoadedScene, asked: TrainConfig, config: TrainConfig) -> Found:
    """Returns what a run keeps of what it has found."""
    return dataclasses.replace(loaded.found, steps=config.length if asked.steps == "auto" else None)


def _newest(folder: Path, config: TrainConfig, group: Group) -> tuple[Path, dict[str, Any]]:
    """Returns the newest checkpoint; from the file where not all of it is to be on this GPU."""
    is_on_gpu = not config.render.offload and config.memory_limit is None
    is_whole = group.size == 1 and is_on_gpu
    with saying_taken_gpu():
        place = None if is_whole else "cpu"
        return load_newest(folder, place, messages.remark, is_mapped=not is_whole)


def _note_code(state: RunState, folder: Path, code: CodeRecord) -> None:
    """Keeps and says which code a run goes on with, where it began with other code."""
    changed = differences(state.code, code)
    if changed:
        state.resumed_with.append(code)
        messages.remark(
            f"{folder}: goes on with other code of {' and of '.join(changed)} than it began with;"
            f" 'resumed_with' of its {run_folder.RESULTS} says which"
        )


def _note_threads(state: RunState, folder: Path) -> None:
    """Says where a run goes on with another number of threads, which counts on a CPU."""
    threads = torch.get_num_threads()
    if state.device == "cpu" and state.cpu_threads not in (None, threads):
        messages.remark(
            f"{folder}: goes on with {threads} CPU threads, as OMP_NUM_THREADS says, and began with"
            f" {state.cpu_threads}: its numbers differ in the last bits from those of a run that"
            " was not interrupted"
        )


def _note_rasterizer(state: RunState, folder: Path, name: str) -> None:
    """Says where a run goes on with another rasteriser; `auto` takes what a machine has."""
    if state.rasterizer not in (None, name):
        messages.remark(
            f"{folder}: goes on with rasteriser '{name}', which --render.rasterizer auto takes"
            f" here, and began with '{state.rasterizer}': its numbers and times are not those of"
            f" one alone; to have '{state.rasterizer}' to the end, resume it on a machine that has"
            " it"
        )


def _load(
    config: TrainConfig,
    device: torch.device,
    clock: Stopwatch,
    found: Found = NOTHING_FOUND,
    cpu_threads: int | None = None,
    group: Group = ALONE,
) -> tuple[LoadedScene, CodeRecord, Start]:
    """Returns the scene, which code the run begins with, and what it starts from."""
    clock.lap("device")
    rasterizer = rasterizer_of(config.render, device, is_staged=sharers(config, group).size > 1)
    with ThreadPoolExecutor(2) as pool, warming_up(device, rasterizer, config.evaluation.lpips):
        code = pool.submit(record.code_record, config.strategy)
        lpips = pool.submit(check_lpips, config)
        loaded = load(config, found=found)
        clock.lap("load")
    clock.lap("device")
    lpips.result()
    suit_threads(device, loaded.scene.views, cpu_threads)
    if config.render.coarse_until:
        possible_reductions([(view.width, view.height) for view in loaded.scene.train_views])
    return loaded, code.result(), start_of(config, loaded.scene)
