"""What the result files of a run hold: plain dataclasses, one JSON object each.

`results.json` is a `Results`, `evaluation.json` an `EvaluationResults`, `per_view.json` a
`PerView`, and each line of `metrics.jsonl` a `MetricsRow`. Every number says its unit in its name
or its docstring. A number that was not measured is null, never a stand-in, and `unavailable` says
why.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from gs_densify.results.encode import FLAT, is_flat
from gs_densify.results.protocol import Protocol

SCHEMA_VERSION = 2


STANDARD_METRICS = ("psnr", "psnr_float", "ssim", "lpips_alex", "lpips_vgg", "lpips_vgg_01")
"""The metrics that every file names, in this order: PSNR in decibel, of the render as the protocol
quantises it and as it left the rasteriser; SSIM; LPIPS of AlexNet and VGG-16 with inputs in
[-1, 1], and of VGG-16 with inputs left in [0, 1]. The protocol describes all others."""

COST_NAMES = ("num_gaussians", "train_seconds", "device_memory")
"""What tables show beside metrics: no metric may be called so."""


class Scores(dict[str, float | None]):
    """Image quality by the names of metrics, of one view or as the mean over views.

    Those of `STANDARD_METRICS` are always there and come first; further ones follow as they were
    given. None where one was not measured. Scores stand beside a protocol and mean nothing without
    it.
    """

    def __init__(
        self,
        values: Mapping[str, float | None] | Iterable[tuple[str, float | None]] = (),
        **named: float | None,
    ) -> None:
        """Takes values by name, as `dict` does."""
        super().__init__({**dict.fromkeys(STANDARD_METRICS), **dict(values), **named})

    def missing(self) -> tuple[str, ...]:
        """Returns the names of the metrics that are None."""
        return tuple(name for name, value in self.items() if value is None)

    def further(self) -> tuple[str, ...]:
        """Returns the names of the metrics that not every file has."""
        return tuple(name for name in self if name not in STANDARD_METRICS)


@dataclass(frozen=True, kw_only=True)
class StrategyRecord:
    """The densification strategy and every option that it ran with."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EvaluationRecord:
    """The mean scores over the test views at one step of the training."""

    step: int
    """Optimiser steps taken before this evaluation."""
    scores: Scores
    num_gaussians: int
    train_seconds: float
    """Time spent training until this step: without loading and evaluating."""
    render_seconds: float | None = None
    """Time to render one test view, the median over them, as some wait for kernels or files; it was
    the mean in earlier files. Null without a view, and in files of schema version 1."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Numbers of Gaussians."""

    initial: int
    final: int
    peak: int


@dataclass(frozen=True, kw_only=True)
class WallTime:
    """Seconds; `first_step` and `total` since gs-train began, or `train()` was called.

    `evaluate` has the checkpoints, too, and `total` ends with the last file but this one. Of a run
    that was resumed `load` is the last process's, `first_step` the first one's, and the others are
    sums, without what was lost after the last checkpoint.
    """

    load: float
    train: float
    evaluate: float
    total: float
    first_step: float | None = None
    photos: float | None = None
    """Of `train`, in which steps waited for photos from the disk; null where none are read there,
    and in files of before they could be."""
    parts: dict[str, float] = field(default_factory=dict)
    """All of `total` by name, see docs/results.md; empty in files of before there were parts."""


@dataclass(frozen=True, kw_only=True)
class PeakMemory:
    """Bytes. Null for the device where the run used none, or it could not be asked."""

    device: int | None
    """Largest allocation; of several GPUs that of the one with most."""
    host: int | None


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """How a run keeps to its --memory-limit."""

    limit: int
    """Bytes."""
    expected: int
    """Bytes on the GPU with `gaussians`, as forecast."""
    gaussians: int
    """The most that are expected, or allowed."""
    offload: bool
    """Whether SH coefficients lie in host memory."""
    max_gaussians: int | None
    """What the number of Gaussians was limited to; null where that was not needed."""


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """The machine, without its name."""

    device: str
    """The torch device, e.g. `cuda:0` or `cpu`."""
    gpu: str | None
    cpu_count: int
    platform: str
    cpu_threads: int | None = None
    """Threads of torch's sums on the CPU: on a CPU they decide the last bits. Null in older
    files."""
    runs_at_a_time: int = 1
    """Runs that a study trained on this device at a time: above 1 they slowed each other."""


@dataclass(frozen=True, kw_only=True)
class CodeRecord:
    """Which code made a run. Digests are those of `gs_densify.source`."""

    strategy: str
    """Of the strategy's file, and what it imports from beside it."""
    package: str
    """Of the rest of gs_densify that moves a number."""
    commit: str | None = None
    """Of the checkout, `+` behind it where files differ; null where it was installed without."""


@dataclass(frozen=True, kw_only=True)
class DataRecord:
    """Which data a run saw, as digests."""

    model: str
    """Of cameras, poses, points and colours, before they are taken to the run's world."""
    photos: str
    """Of the names, pixels and masks of all photos, as they are trained on and scored with."""
    offset: list[float] | None = field(default=None, compare=False)
    """[3], what was taken from positions in the model's files; null where they are in COLMAP's
    frame. It follows from the model and the run's world, and so is not compared."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """`results.json`: one run. Each null in `scores` has its reason in `unavailable`."""

    scene: str
    strategy: StrategyRecord
    seed: int
    steps: int
    config: dict[str, Any]
    protocol: Protocol
    scores: Scores
    unavailable: dict[str, str]
    evaluations: list[EvaluationRecord]
    counts: Counts
    wall_time: WallTime
    peak_memory: PeakMemory
    versions: dict[str, str | None]
    """Package name to version: python, torch, gsplat, cuda, gs_densify, ..."""
    hardware: Hardware
    created: str
    """UTC, ISO 8601."""
    command: list[str]
    resumed_at: list[int] = field(default_factory=list)
    """Steps from which an interrupted run went on in another process."""
    code: CodeRecord | None = None
    """With which the run began; null where that was before it was kept."""
    resumed_with: list[CodeRecord] = field(default_factory=list)
    """The code of processes that went on with other code than that."""
    data: DataRecord | None = None
    """Null where the run began before it was kept."""
    found: dict[str, float] = field(default_factory=dict)
    """Options of `auto`, by dotted name, and what the run found for them."""
    memory_plan: MemoryPlan | None = None
    """Null without a --memory-limit."""
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        """Refuses a null score without a reason, a reason for a score that is there, and a score
        that the protocol does not describe."""
        _check_scores(self.scores, self.unavailable, self.protocol)


@dataclass(frozen=True, kw_only=True)
class EvaluationResults:
    """`evaluation.json`: a model that gs-eval scored. Each null in `scores` has its reason."""

    model: str
    """The file that was scored."""
    scene: str
    strategy: str | None
    """Null where the model is no run's."""
    seed: int | None
    step: int | None
    """Optimiser steps that the model had; null where it does not say."""
    config: dict[str, Any]
    protocol: Protocol
    scores: Scores
    unavailable: dict[str, str]
    num_gaussians: int
    created: str
    """UTC, ISO 8601."""
    command: list[str]
    code: CodeRecord | None = None
    """With which the run trained that the model is of, as its `results.json` has it."""
    data: DataRecord | None = None
    """What that run saw, likewise."""
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        """Refuses a null score without a reason, a reason for a score that is there, and a score
        that the protocol does not describe."""
        _check_scores(self.scores, self.unavailable, self.protocol)


def _check_scores(scores: Scores, unavailable: dict[str, str], protocol: Protocol) -> None:
    unknown = [name for name in scores.further() if name not in protocol.metrics]
    if unknown:
        raise ValueError(f"the protocol's `metrics` do not describe the score {unknown[0]!r}")
    if set(unavailable) != set(scores.missing()):
        raise ValueError(
            f"`unavailable` explains {sorted(unavailable)}, but the scores that are null "
            f"are {sorted(scores.missing())}"
        )


@dataclass(frozen=True, kw_only=True)
class ViewScores:
    """The scores of one test view."""

    name: str
    """The image's name in the COLMAP model, with sub-folder and extension."""
    scores: Scores


@dataclass(frozen=True, kw_only=True)
class PerView:
    """`per_view.json`: the test views of one evaluation, in the order of their names."""

    scene: str
    strategy: str | None
    seed: int | None
    step: int | None
    protocol: str | None
    """The protocol's name; the whole of it lies in the file beside. Null in files of version 1."""
    views: list[ViewScores]
    schema_version: int = SCHEMA_VERSION


STANDARD_TERMS = ("l1", "ssim_loss")
"""The terms of the loss that every line of `metrics.jsonl` has, in this order."""


@dataclass(frozen=True, kw_only=True)
class MetricsRow:
    """One line of `metrics.jsonl`: the state of the run after `step` optimiser steps."""

    step: int
    loss: float | None
    """Null at an evaluation before the first step, or where the loss was not finite."""
    num_gaussians: int
    train_seconds: float
    """Time spent training until this step."""
    terms: dict[str, float | None] = field(default_factory=dict, metadata=FLAT)
    """Terms of the loss by name; in JSON they stand among the other figures. `l1`, the mean
    absolute error of the batch, in [0, 1], and `ssim_loss`, 1 - SSIM of the batch, are always
    there, and null where the loss has no such term; others are weighted as in the loss."""
    means_lr: float | None = None
    """Learning rate of the means at this step, in world units."""
    step_milliseconds: float | None = None
    """Mean over the steps since the line before."""
    device_bytes: int | None = None
    """Device memory in use; of several GPUs that of the one with most."""
    psnr: float | None = None
    """Decibel, mean over the test views; null on lines without an evaluation."""

    def __post_init__(self) -> None:
        """Adds the terms that every line has; refuses one with the name of another figure."""
        taken = {item.name for item in fields(self) if not is_flat(item)} & self.terms.keys()
        if taken:
            raise ValueError(f"a term of the loss cannot be named {min(taken)!r}")
        object.__setattr__(self, "terms", {**dict.fromkeys(STANDARD_TERMS), **self.terms})
