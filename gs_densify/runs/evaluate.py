"""Scores a model again, from its files alone."""

from collections.abc import Sequence
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gs_densify.config.file import to_mapping
from gs_densify.config.options import TrainConfig
from gs_densify.config.renderer import rasterizer_of, renderer_for
from gs_densify.errors import ConfigError
from gs_densify.memory.shortage import shortage_in_words
from gs_densify.messages import remark
from gs_densify.model.init import to_parameters
from gs_densify.rendering.device import pick_device, suit_threads
from gs_densify.results import (
    EvaluationResults,
    PerView,
    Results,
    load_results,
    protocol_differences,
    save_json,
)
from gs_densify.runs import layout as run_folder
from gs_densify.runs.claim import claimed
from gs_densify.runs.loaded_scene import LoadedScene, load
from gs_densify.runs.open_model import OpenedModel
from gs_densify.runs.paths import check_scene_is_there, with_absolute_paths
from gs_densify.runs.score import check_lpips, protocol_of, score

_REMEDIES = {"cuda": "use --downscale, or --device cpu", "cpu": "use --downscale"}
_SCORING_OPTIONS = ("scene", "data_root", "downscale", "protocol", "render", "data", "evaluation")


def evaluate_model(
    model: OpenedModel, out: Path | None, command: Sequence[str]
) -> tuple[EvaluationResults, Path]:
    """Scores `model` and writes the files into `out`; returns the results and the folder.

    Without `out` the folder is `evaluations/TIME` in the run, or `evaluations/NAME_TIME` beside a
    PLY.

    Raises:
        ConfigError: where `out` holds something already, or no view is held out.
    """
    run_folder.check_free(out)
    _require_held_out(model)
    config, run = with_absolute_paths(model.config), model.run
    if run is not None:
        check_scene_is_there(run, config)
    device = pick_device(config.device)
    rasterizer_of(config.render, device)  # an error now, not after loading
    check_lpips(config)
    loaded = load(config, test_only=True, found=model.found)
    renderer = renderer_for(config, loaded.near_plane, device)
    stored = _stored_results(run)
    suit_threads(device, loaded.scene.views, _threads_of(stored))
    with claimed(out, _default_folder(model)) as claim:
        folder = claim.folder
        with shortage_in_words(lambda: "while views were scored", _REMEDIES):
            splats = _in_scene(model, loaded, device)
            pictures = folder / run_folder.RENDERS
            render = partial(renderer.view, splats)
            evaluation = score(config, render, loaded, device=device, pictures=pictures)
        seed = None if run is None else config.seed
        results = EvaluationResults(
            model=str(model.file),
            scene=loaded.scene.name,
            strategy=None if run is None else config.strategy,
            seed=seed,
            step=model.step,
            config=_recorded_options(config, run),
            protocol=protocol_of(
                config, loaded, renderer, device, evaluation, seed=seed, steps=model.step
            ),
            scores=evaluation.scores,
            unavailable=evaluation.unavailable,
            num_gaussians=len(splats["means"]),
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            command=list(command),
            code=None if stored is None else stored.code,
            data=None if stored is None else stored.data,
        )
        per_view = PerView(
            scene=results.scene,
            strategy=results.strategy,
            seed=seed,
            step=model.step,
            protocol=results.protocol.name,
            views=evaluation.views,
        )
        save_json(folder / run_folder.PER_VIEW, per_view)
        save_json(folder / run_folder.EVALUATION, results)
        if run is not None:
            remark(f"scored on the scene in {loaded.scene.root}")
        return results, folder


def _stored_results(run: Path | None) -> Results | None:
    """Returns the results of a run that is complete."""
    if run is None or not (run / run_folder.RESULTS).is_file():
        return None
    return load_results(run / run_folder.RESULTS)


def _threads_of(stored: Results | None) -> int | None:
    """Returns the number of CPU threads of a run on a CPU; None where it is not known."""
    if stored is None or stored.hardware.device != "cpu":
        return None
    return stored.hardware.cpu_threads


def _about_threads(stored: Results) -> str:
    """Returns what to add where a run on a CPU had another number of threads."""
    then, now = _threads_of(stored), torch.get_num_threads()
    if then in (None, now):
        return ""
    return f" (on {now} CPU threads, and the run on {then}, which moves the last bits)"


def _require_held_out(model: OpenedModel) -> None:
    if model.config.data.test_every:
        return
    if model.run is None:
        raise ConfigError(
            "is 0, which holds no view out", expected="it must be at least 1", option="test-every"
        )
    raise ConfigError(
        f"{model.run} was trained on all photos (data.test_every 0): no view is held out to score"
        " it",
        action="score its PLY on the photos that it was trained on, with --scene and"
        " --data.test-every 1; or train again with photos held out",
    )


def _default_folder(model: OpenedModel) -> Path:
    if model.run is not None:
        return model.run / "evaluations" / run_folder.time_stamp()
    return model.file.parent / "evaluations" / f"{model.file.stem}_{run_folder.time_stamp()}"


def _in_scene(
    model: OpenedModel, loaded: LoadedScene, device: torch.device
) -> torch.nn.ParameterDict:
    """Returns the Gaussians in the world of the loaded scene.

    A PLY is moved, rather than the scene left as it is: the near plane lies at a fixed distance of
    the world that a run was trained and scored in.
    """
    splats: Any = model.splats
    if model.in_colmap_frame:
        splats = model.moved_from_colmap(loaded.scene.normalized_from_colmap)
    values: dict[str, Tensor] = dict(splats)
    return to_parameters(values, device)


def _recorded_options(config: TrainConfig, run: Path | None) -> dict[str, Any]:
    """Returns all options of a run; of another model only those that took part."""
    options = to_mapping(config)
    if run is not None:
        return options
    return {name: options[name] for name in _SCORING_OPTIONS}


def stored_comparison(run: Path, results: EvaluationResults) -> str:
    """Returns how the scores compare with those that the run stored at that step, in one line."""
    stored = _stored_results(run)
    evaluations = [] if stored is None else stored.evaluations
    at_step = [record for record in evaluations if record.step == results.step]
    if stored is None or not at_step:
        return f"step {results.step} has no stored scores to compare with"
    contradictions = protocol_differences(stored.protocol, results.protocol)
    if contradictions:
        return f"not compared with the stored scores: {'; '.join(contradictions)}"
    then, now = at_step[-1].scores, results.scores
    pairs = {name: (then[name], now[name]) for name in now if name in then}
    changed = [f"{name} {a} stored, {b} now" for name, (a, b) in pairs.items() if a != b]
    if changed:
        return f"differs from the stored scores: {'; '.join(changed)}{_about_threads(stored)}"
    return "equal to the stored scores to the last digit"
