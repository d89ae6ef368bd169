"""What the result files of a run hold: plain dataclasses, one JSON object each.

`results.json` is a `Results`, `per_view.json` a `PerView`, and each line of `metrics.jsonl` a
`MetricsRow`. Every number says its unit in its name or its docstring. A number that was not
measured is null, never a stand-in, and `unavailable` says why.
"""

from dataclasses import dataclass, field, fields
from typing import Any

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Image quality: of one view, or the mean over views. Null where it was not measured."""

    psnr: float | None = None
    """Decibel, of the render rounded to 8 bits; higher is better."""
    psnr_float: float | None = None
    """Decibel, of the render as it left the rasteriser, clamped to [0, 1]."""
    ssim: float | None = None
    """Of the render rounded to 8 bits; higher is better."""
    lpips_alex: float | None = None
    """AlexNet, inputs in [-1, 1], of the render rounded to 8 bits; lower is better."""
    lpips_vgg: float | None = None
    """VGG-16, inputs in [-1, 1], of the render rounded to 8 bits; lower is better."""
    lpips_vgg_01: float | None = None
    """VGG-16, inputs left in [0, 1] as in the code of many splatting papers; lower is better."""

    def missing(self) -> tuple[str, ...]:
        """Return the names of the metrics that are null."""
        return tuple(name for name in METRICS if getattr(self, name) is None)


METRICS: tuple[str, ...] = tuple(item.name for item in fields(Scores))


@dataclass(frozen=True, kw_only=True)
class StrategyRecord:
    """The densification strategy and every option that it ran with."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ImageSize:
    """A size, in pixels, and how many images of the scene have it."""

    width: int
    height: int
    count: int


@dataclass(frozen=True, kw_only=True)
class LpipsRecord:
    """How one LPIPS variant was computed."""

    network: str
    input_range: str
    package: str


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Everything that two runs must share before their scores may be compared."""

    scene_name: str
    image_dir: str
    image_source: str
    """`official`: the downscaled images of the data set; `as found`: whatever the folder holds."""
    downscale: int
    sizes: list[ImageSize]
    test_every: int
    split_rule: str
    """In words, e.g. `every 8th image of the names in sorted order, starting with the first`."""
    test_images: list[str]
    n_train: int
    n_test: int
    ssim: str
    lpips: dict[str, LpipsRecord] = field(default_factory=dict)
    background: tuple[float, float, float] = (0.0, 0.0, 0.0)
    quantisation: str = "uint8-round"
    undistorted: bool = False
    masks: bool = False


@dataclass(frozen=True, kw_only=True)
class EvaluationRecord:
    """The mean scores over the test views at one step of the training."""

    step: int
    """Optimiser steps taken before this evaluation."""
    scores: Scores
    num_gaussians: int
    train_seconds: float
    """Time spent training until this step: without loading and evaluating."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Numbers of Gaussians."""

    initial: int
    final: int
    peak: int


@dataclass(frozen=True, kw_only=True)
class WallTime:
    """Seconds."""

    load: float
    train: float
    evaluate: float
    total: float


@dataclass(frozen=True, kw_only=True)
class PeakMemory:
    """Bytes. Null for the device where the run used none, or it could not be asked."""

    device: int | None
    host: int | None


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """The machine, without its name."""

    device: str
    """The torch device, e.g. `cuda:0` or `cpu`."""
    gpu: str | None
    cpu_count: int
    platform: str


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
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        """Refuse a null score without a reason, and a reason for a score that is there."""
        if set(self.unavailable) != set(self.scores.missing()):
            raise ValueError(
                f"`unavailable` explains {sorted(self.unavailable)}, but the scores that are null "
                f"are {sorted(self.scores.missing())}"
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
    strategy: str
    seed: int
    step: int
    views: list[ViewScores]
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, kw_only=True)
class MetricsRow:
    """One line of `metrics.jsonl`: the state of the run after `step` optimiser steps."""

    step: int
    loss: float | None
    """Null at an evaluation before the first step, or where the loss was not finite."""
    num_gaussians: int
    train_seconds: float
    """Time spent training until this step."""
    l1: float | None = None
    """Mean absolute error of the batch, in [0, 1]."""
    ssim_loss: float | None = None
    """1 - SSIM of the batch; null where the loss has no SSIM term."""
    means_lr: float | None = None
    """Learning rate of the means at this step, in world units."""
    step_milliseconds: float | None = None
    """Mean over the steps since the line before."""
    device_bytes: int | None = None
    """Device memory in use."""
    psnr: float | None = None
    """Decibel, mean over the test views; null on lines without an evaluation."""
