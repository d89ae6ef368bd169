"""What a check of a capture finds, as plain values: the JSON file of `gs-scene check`."""

from dataclasses import dataclass
from typing import Literal

from gs_densify.capture.coverage import Coverage
from gs_densify.capture.memory import GpuMemory
from gs_densify.capture.model import ModelCamera
from gs_densify.capture.outliers import Outlier

SCHEMA_VERSION = 1

Level = Literal["stop", "look", "note"]
Verdict = Literal["fine", "worth a look", "will not train"]


@dataclass(frozen=True)
class Finding:
    """Something to know about a capture, and what to do about it."""

    level: Level
    """`stop`: gs-train refuses it; `look`: it costs quality; `note`: good to know."""
    text: str
    action: str
    photos: tuple[str, ...] = ()


@dataclass(frozen=True)
class PhotoRecord:
    """Measures of one photo; what is not known is null."""

    name: str
    has_pose: bool
    width: int | None
    height: int | None
    sharpness: float | None
    brightness: float | None
    clipped: float | None
    num_points: int | None
    reprojection_error: float | None


@dataclass(frozen=True)
class PointStatistics:
    """The point cloud of the model; None where the model keeps no observations, or no errors."""

    count: int
    mean_error: float | None
    median_error: float | None
    mean_track: float | None
    median_track: float | None
    seen_by_three: float | None
    """Share of the points that at least three photos observe."""
    fewest_in_a_photo: int | None
    median_in_a_photo: float | None


@dataclass(frozen=True)
class Plan:
    """What a training on this capture would use."""

    downscale: int
    """Factor that was checked."""
    suggested_downscale: int
    """Smallest power of two that brings the longer side of every photo to 1600 pixels or less."""
    test_every: int
    train: int
    test: int
    memory: GpuMemory


@dataclass(frozen=True)
class CaptureReport:
    """A check of a capture. What could not be found out is null or empty."""

    schema_version: int
    name: str
    root: str
    model_dir: str | None
    image_dir: str
    registered: int | None
    """Photos with a pose in the model."""
    without_pose: tuple[str, ...]
    """Photos on disk that the model has no pose for."""
    missing: tuple[str, ...]
    """Photos with a pose that are not on disk."""
    unreadable: dict[str, str]
    """Photos that cannot be used, with the reason."""
    sizes: dict[str, int]
    """Number of photos of each size, `WIDTHxHEIGHT`."""
    cameras: tuple[ModelCamera, ...]
    coverage: Coverage | None
    points: PointStatistics | None
    blurred: tuple[Outlier, ...]
    badly_exposed: tuple[Outlier, ...]
    clipped: tuple[Outlier, ...]
    near_duplicates: tuple[tuple[str, str], ...]
    plan: Plan | None
    photos: tuple[PhotoRecord, ...]
    findings: tuple[Finding, ...]
    verdict: Verdict
