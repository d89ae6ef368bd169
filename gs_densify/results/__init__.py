"""The result files of a run: their schema, saving and loading (standard library only)."""

from gs_densify.results.files import (
    atomic_write,
    load_json,
    load_per_view,
    load_results,
    save_json,
)
from gs_densify.results.log import MetricsLog, read_metrics
from gs_densify.results.schema import (
    METRICS,
    SCHEMA_VERSION,
    Counts,
    EvaluationRecord,
    Hardware,
    ImageSize,
    LpipsRecord,
    MetricsRow,
    PeakMemory,
    PerView,
    Protocol,
    Results,
    Scores,
    StrategyRecord,
    ViewScores,
    WallTime,
)

__all__ = [
    "METRICS",
    "SCHEMA_VERSION",
    "Counts",
    "EvaluationRecord",
    "Hardware",
    "ImageSize",
    "LpipsRecord",
    "MetricsLog",
    "MetricsRow",
    "PeakMemory",
    "PerView",
    "Protocol",
    "Results",
    "Scores",
    "StrategyRecord",
    "ViewScores",
    "WallTime",
    "atomic_write",
    "load_json",
    "load_per_view",
    "load_results",
    "read_metrics",
    "save_json",
]
