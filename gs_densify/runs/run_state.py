"""What a run has to keep besides its model, so that another process can finish it."""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gs_densify.config.file import GROUPS, by_dotted_name, plain
from gs_densify.config.former_options import complete_saved, translate_retired
from gs_densify.errors import ConfigError, ResultError
from gs_densify.results import (
    CodeRecord,
    DataRecord,
    EvaluationRecord,
    MemoryPlan,
    MetricsRow,
    PeakMemory,
)
from gs_densify.results.decode import decode
from gs_densify.results.files import to_json
from gs_densify.runs.loaded_scene import NOTHING_FOUND, Found, LoadedScene
from gs_densify.scene.scene import Scene

_MAY_CHANGE = (
    *("out", "scene", "data_root", "device", "strategy.name", "evaluation.lpips_weights"),
    *("log_to", "checkpoint_minutes", "gpus", "parallel", "data.host_budget", "data.disk_budget"),
)
"""Options that may differ when a run goes on: they name places, and another check compares what
lies there (`require_same_scene` the scene, `require_same` the kind of device); or they change
nothing of the run."""

_BEFORE = {"strategy.budget": 0, "render.offload": False, "render.deterministic": False}
"""What options were that runs of earlier versions did not have, where it is not None."""


@dataclasses.dataclass(kw_only=True)
class RunState:
    """Holds what is known of a run over all of its processes; every checkpoint contains it."""

    command: list[str]
    config: dict[str, Any]
    """What was asked for, as `config.file.to_mapping` gives it."""
    device: str
    """cuda or cpu."""
    scene: str
    """See `digest`."""
    num_initial: int
    """Gaussians before the first step."""
    found: Found = NOTHING_FOUND
    evaluations: list[EvaluationRecord] = dataclasses.field(default_factory=list)
    pending: MetricsRow | None = None
    """The row of the checkpoint's step, where the evaluation that completes it is still to come."""
    evaluate_seconds: float = 0.0
    """With the checkpoints."""
    total_seconds: float = 0.0
    """Since the command, without the time between processes."""
    parts: dict[str, float] = dataclasses.field(default_factory=dict)
    """All of `total_seconds` by name; those of processes before there were parts are not in it."""
    first_step: float | None = None
    """Seconds from the command to the end of the first step."""
    peak_memory: PeakMemory = dataclasses.field(
        default_factory=lambda: PeakMemory(device=None, host=None)
    )
    resumed_at: list[int] = dataclasses.field(default_factory=list)
    """Steps from which another process went on."""
    code: CodeRecord | None = None
    """Of the first process; null where an earlier version began the run."""
    resumed_with: list[CodeRecord] = dataclasses.field(default_factory=list)
    """Of later processes, where it was other code."""
    data: DataRecord | None = None
    """Null where an earlier version began the run: then `scene` alone is compared."""
    cpu_threads: int | None = None
    """As in `Hardware`, of the first process."""
    memory_plan: MemoryPlan | None = None
    """How the run keeps to its --memory-limit."""
    rasterizer: str | None = None
    """Name of the one that rendered in the first process; null where an earlier version began the
    run.
    """

    def note_memory(self, now: PeakMemory) -> None:
        """Keeps the larger of two peaks, part by part."""
        self.peak_memory = PeakMemory(
            device=_larger(self.peak_memory.device, now.device),
            host=_larger(self.peak_memory.host, now.host),
        )


def _larger(first: int | None, second: int | None) -> int | None:
    return max((one for one in (first, second) if one is not None), default=None)


def state_in(checkpoint: Mapping[str, Any], path: Path) -> RunState:
    """Returns the state that a checkpoint holds.

    Raises:
        ResultError: it holds none, or its run cannot go on.
    """
    if "run" not in checkpoint:
        raise ResultError(
            f"{path}: written by a version whose runs cannot be resumed",
            action="train again, or score it with gs-eval",
        )
    if checkpoint.get("strategy_state", {}) is None:
        raise ResultError(
            f"{path}: saved without the strategy's state, which holds what a checkpoint cannot",
            action="gs-strategies check says what",
        )
    kept, where = plain(checkpoint["run"]), f"{path}: run"
    try:
        to_json(kept, where=where)  # as the results will
    except (TypeError, RecursionError) as error:
        raise ResultError(f"{where}: holds what results cannot ({error})") from None
    state = decode(RunState, kept, where)
    for name in (set(GROUPS) & state.config.keys()) | {"strategy"}:
        if not isinstance(state.config.get(name), dict):
            raise ResultError(f"{where}: config: {name} is no object; the file is damaged.")
    translate_retired(state.config, f"{path}: run: config")
    complete_saved(state.config)
    return state


def digest(scene: Scene) -> str:
    """Returns one of the names, sizes and split of a scene's photos and its number of points."""
    held_out = {view.name for view in scene.test_views}
    views = [(view.name, view.width, view.height, view.name in held_out) for view in scene.views]
    return hashlib.sha256(repr((views, len(scene.points))).encode()).hexdigest()


def require_same(state: RunState, folder: Path, *, config: Mapping[str, Any], device: str) -> None:
    """Raises ConfigError where options or the kind of device are not those that the run began
    with.
    """
    then, now = by_dotted_name(state.config), by_dotted_name(config)
    for name in sorted(then.keys() | now.keys()):
        if name not in _MAY_CHANGE and then.get(name, _BEFORE.get(name)) != now.get(name):
            raise ConfigError(
                f"{folder}: its config.yml has {name} {now.get(name)}, but the run began"
                f" with {then.get(name)}",
                action="put it back, or train anew",
                option="resume",
            )
    if state.device != device:
        raise ConfigError(
            f"{folder}: the run began on {state.device}, and would go on on {device}",
            action="finish it on such a machine, or train anew",
            option="resume",
        )


def differences(then: CodeRecord | None, now: CodeRecord) -> list[str]:
    """Returns what of the code is other code, in words: the strategy, gs_densify.

    Where it is not known what a run began with, that was an earlier version of gs_densify.
    """
    if then is None:
        return ["gs_densify"]
    return ["its strategy"] * (then.strategy != now.strategy) + ["gs_densify"] * (
        then.package != now.package
    )


def require_same_scene(state: RunState, folder: Path, loaded: LoadedScene) -> None:
    """Raises ConfigError where photos, masks, split or COLMAP model are not those that the run
    began with.
    """
    scene = loaded.scene
    if state.scene != digest(scene):
        raise ConfigError(
            f"{folder}: the scene {scene.name} now has {len(scene.views)} photos and"
            f" {len(scene.points)} points, not those, or not in the sizes, that the run began with",
            action="put them back, or train anew",
            option="resume",
        )
    if state.data is None or loaded.data is None:
        return
    changed = ["another COLMAP model (cameras, poses, points or colours)"] * (
        state.data.model != loaded.data.model
    ) + ["other photos (pixels or masks)"] * (state.data.photos != loaded.data.photos)
    if changed:
        raise ConfigError(
            f"{folder}: the scene {scene.name} has {' and '.join(changed)} than the run began with",
            action="put back what there was, or train anew",
            option="resume",
        )
