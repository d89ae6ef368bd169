"""What a run has to keep besides its model, so that another process can finish it."""

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gs_densify.errors import ResultError
from gs_densify.results import EvaluationRecord, MetricsRow, PeakMemory
from gs_densify.results.decode import decode


@dataclasses.dataclass(kw_only=True)
class RunState:
    """Of all processes so far. Every checkpoint has it, as plain values."""

    command: list[str]
    strategy: str
    """As the command named it; its file may be gone."""
    num_initial: int
    """Gaussians before the first step."""
    evaluations: list[EvaluationRecord] = dataclasses.field(default_factory=list)
    pending: MetricsRow | None = None
    """The row of the checkpoint's step, where the evaluation that completes it is still to come."""
    evaluate_seconds: float = 0.0
    total_seconds: float = 0.0
    first_step: float | None = None
    """Seconds from the command to the end of the first step."""
    peak_memory: PeakMemory | None = None
    resumed_at: list[int] = dataclasses.field(default_factory=list)
    """Steps from which another process went on."""


class Clock:
    """Seconds of this process and of those before it."""

    def __init__(self, started: float, before: float = 0.0) -> None:
        self._started, self._before = started, before

    def total(self) -> float:
        """Since the command that began the run, without the time in between processes."""
        return self._before + time.perf_counter() - self._started

    def since_start(self, at: float) -> float:
        """From the start of this process to `at`, of `time.perf_counter`."""
        return at - self._started


def larger(first: PeakMemory | None, second: PeakMemory) -> PeakMemory:
    """The larger of two peaks, part by part."""
    if first is None:
        return second
    return PeakMemory(
        device=max((x for x in (first.device, second.device) if x is not None), default=None),
        host=max((x for x in (first.host, second.host) if x is not None), default=None),
    )


def state_in(checkpoint: Mapping[str, Any], path: Path) -> RunState:
    """The state that a checkpoint holds.

    Raises:
        ResultError: it holds none.
    """
    if "run" not in checkpoint:
        raise ResultError(
            f"{path}: written by a version whose runs cannot be resumed; train again, or score it"
            " with gs-eval"
        )
    return decode(RunState, checkpoint["run"], f"{path}: run")
